"""The kernels that a card should run for a function, read off its jaxpr: what is in one kernel, and what each does.

XLA's compiler for cards is not here, so what it puts into one kernel is described by rules:

- A matrix product, a convolution, a sort, a scatter is a kernel of its own.
- Attention is a kernel of its own, too: products of samples and heads one by one, with the softmax between them; arrays
  of the logits and sums of their rows are never in memory.
- Of the rest, what is connected is one kernel. A sum along the last axis goes on in it, as in a norm's kernel; any
  other sum ends it, as all of it must be there before it can be read.
- What names, turns, repeats, cuts or widens an array (_VIEWS) is done while the array is read.
- What may be computed early or late is computed in the first kernel that reads it, a single number wherever it is read.
- A kernel reads each array of others once, and writes what others read; single numbers are not counted.

A loop's kernels count with its length, of branches the longest; what no result depends on does not count.
"""

import dataclasses
import math

import jax

_VIEWS = {
    "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "slice", "rev", "copy", "stop_gradient",
    "sharding_constraint", "optimization_barrier", "split", "unstack", "reduce_precision", "device_put",
}  # fmt: skip
_PRODUCTS = {"dot_general", "conv_general_dilated"}
_ALONE = _PRODUCTS | {
    "sort", "top_k", "scatter", "scatter-add", "cumsum", "cummax", "cumlogsumexp", "random_bits", "threefry2x32",
    "reduce_window_sum", "reduce_window_max", "select_and_scatter_add",
}  # fmt: skip
_SUMS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin"}
# Operations of the special units for each element.
_SPECIAL = {"exp": 1, "exp2": 1, "log": 1, "log1p": 2, "expm1": 1, "rsqrt": 1, "sqrt": 1, "div": 1, "tanh": 2, "sin": 1}
_SPECIAL |= {"cos": 1, "logistic": 2, "erf": 1, "erf_inv": 2, "pow": 2, "atan2": 2}
# Vector operations for each element where they are not one: a float32 quotient or root is a guess of the special unit
# made exact by some eight steps, an exponential is split in two, erf is a quotient of two polynomials, 12 terms in all.
_VECTOR = {"div": 8, "sqrt": 8, "exp": 4, "log": 8, "log1p": 12, "expm1": 12, "logistic": 12, "pow": 16, "erf": 24}
_VECTOR |= {"erf_inv": 24, "tanh": 16, "sin": 16, "cos": 16, "atan2": 24}


@dataclasses.dataclass
class Kernel:
    """times: how often it runs. attention: whether it is attention's. Each time:

    bytes: read and written. products: equations, its matrix products and convolutions. vector, special: operations on
    single numbers, by the units for all and by those for exponentials, roots and the like.
    """

    times: int
    attention: bool = False
    bytes: float = 0.0
    products: list = dataclasses.field(default_factory=list)
    vector: float = 0.0
    special: float = 0.0


@dataclasses.dataclass(eq=False)
class _Array:
    """size: of its values; bytes: that are read for it. source: the array that it is a view of, or None.

    maker: the _Operation that computes it, None for what is given. logits: whether it stays in attention's kernel.
    """

    size: int
    bytes: float
    source: "_Array | None" = None
    maker: "_Operation | None" = None
    logits: bool = False

    @property
    def root(self):
        """The array in memory."""
        return self.source.root if self.source else self


@dataclasses.dataclass(eq=False)
class _Operation:
    """An equation that is computed `times` times. depth: kernels that come before it at least.

    joined: another operation of its kernel, or None.
    """

    equation: object
    times: int
    inputs: list
    outputs: list
    attention: bool
    depth: int = 0
    joined: "_Operation | None" = None

    @property
    def name(self):
        return self.equation.primitive.name

    @property
    def kernel(self):
        """The operation that stands for its kernel."""
        return self.joined.kernel if self.joined else self


def of_function(function, *args):
    """The kernels of function(*args), a list of Kernel.

    Args:
      function: anything that jax can trace, gradients and jitted functions included.
      *args: arrays or jax.ShapeDtypeStruct, in any pytrees.
    """
    closed = jax.make_jaxpr(function)(*args)
    operations, kept = [], []
    kept += _follow(closed, [_array(variable) for variable in closed.jaxpr.invars], 1, operations, kept)
    operations, kept = _used(operations, kept), {array.root for array in kept}
    _join(operations, kept)
    return _kernels(operations, kept)


def is_attention(equation):
    """Whether a product is of attention: of samples and heads one by one, both as axes that are not summed over."""
    return equation.primitive.name == "dot_general" and len(equation.params["dimension_numbers"][1][0]) >= 2


def _array(atom):
    size = math.prod(getattr(atom.aval, "shape", ()))
    return _Array(size, size * getattr(getattr(atom.aval, "dtype", None), "itemsize", 4))


def _follow(closed, given, times, operations, kept):
    """The arrays of a jaxpr's results; appends its operations, and to `kept` what else is needed in memory."""
    jaxpr = getattr(closed, "jaxpr", closed)
    arrays = dict(zip(jaxpr.invars, given, strict=True))

    def read(atom):
        return _array(atom) if hasattr(atom, "val") else arrays.setdefault(atom, _array(atom))

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        arrays |= zip(equation.outvars, _results(equation, inputs, times, operations, kept), strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _results(equation, inputs, times, operations, kept):
    """The arrays of an equation's results; the rest as of _follow."""
    name, params = equation.primitive.name, equation.params
    outputs = [_array(variable) for variable in equation.outvars]
    values = (value if isinstance(value, (tuple, list)) else (value,) for value in params.values())
    inner = [item for each in values for item in each if hasattr(item, "eqns")]
    if name in ("scan", "while"):
        # A round reads what the last one left: all that it takes and gives is in memory between them.
        given = [_array(variable) for variable in getattr(inner[-1], "jaxpr", inner[-1]).invars]
        kept += inputs
        kept += _follow(inner[-1], given, times * params.get("length", 1), operations, kept)
        return outputs
    if name == "cond":
        inputs, inner = inputs[1:], [max(inner, key=lambda branch: len(branch.eqns))]
    if inner and name not in _ALONE:
        return _follow(inner[0], inputs, times, operations, kept)
    if name in _VIEWS or (name == "convert_element_type" and outputs[0].bytes >= inputs[0].bytes):
        source = inputs[0]
        for each in outputs:
            each.source, each.logits = source, source.logits
            each.bytes = source.bytes * min(1.0, each.size / max(source.size, 1))
        return outputs
    logits = [each.size for each in inputs if each.logits]
    if is_attention(equation):
        logits = [max(each.size for each in (*inputs, *outputs))]
    operation = _Operation(equation, times, inputs, outputs, attention=bool(logits))
    for each in outputs:
        each.maker, each.logits = operation, bool(logits) and (each.size >= max(logits) or _sums_rows(equation))
    operations.append(operation)
    return outputs


def _used(operations, kept):
    """The operations that something kept depends on."""
    needed, used = {array.root for array in kept}, []
    for operation in reversed(operations):
        if operation.equation.effects or not needed.isdisjoint(operation.outputs):
            needed.update(array.root for array in operation.inputs)
            used.append(operation)
    return used[::-1]


def _join(operations, kept):
    """Gives each operation its depth, and joins those of one depth that read one another to one kernel."""
    readers = {one: [] for one in operations}
    for one in operations:
        makers = {array.root.maker for array in one.inputs} - {None}
        one.depth = max((maker.depth + _ends(maker, one) for maker in makers), default=0)
        for maker in makers:
            readers[maker].append(one)
    for one in reversed(operations):
        # A sum stays with what it adds up; the rest waits for its first reader.
        if one.name not in _ALONE | _SUMS and not one.attention and kept.isdisjoint(one.outputs) and readers[one]:
            one.depth = min(reader.depth - _ends(one, reader) for reader in readers[one])
    for one in operations:
        for reader in readers[one]:
            together = reader.depth == one.depth and not _ends(one, reader)
            if together and any(array.size > 1 for array in one.outputs) and one.kernel is not reader.kernel:
                one.kernel.joined = reader.kernel


def _ends(maker, reader):
    """Whether what `maker` computes is in memory before `reader` reads it."""
    if maker.attention or reader.attention:
        return not (maker.attention and reader.attention)
    if maker.name in _ALONE or reader.name in _ALONE:
        return True
    return maker.name in _SUMS and not _sums_rows(maker.equation)


def _sums_rows(equation):
    """Whether it is a sum (or maximum ...) along the last axis."""
    last = len(equation.invars[0].aval.shape) - 1
    return equation.primitive.name in _SUMS and tuple(equation.params["axes"]) == (last,)


def _kernels(operations, kept):
    readers, kernels, read = {}, {}, {}
    for one in operations:
        for array in one.inputs:
            readers.setdefault(array.root, set()).add(one.kernel)
    for one in operations:
        if all(array.size == 1 for array in (*one.inputs, *one.outputs)):
            continue
        mine = one.kernel
        kernel = kernels.setdefault(mine, Kernel(one.times, one.attention))
        for array in one.inputs:
            maker = array.root.maker
            if array.root.size > 1 and not array.root.logits and (maker is None or maker.kernel is not mine):
                # Views of one array, read together, are at most all of it.
                read[mine, array.root] = max(array.bytes, read.get((mine, array.root), 0))
        for array in one.outputs:
            if array.size > 1 and not array.logits and (array in kept or readers.get(array, set()) - {mine}):
                kernel.bytes += array.bytes
        if one.name in _PRODUCTS:
            kernel.products.append(one.equation)
        else:
            elements = max(array.size for array in (*one.inputs, *one.outputs))
            kernel.vector += _VECTOR.get(one.name, 1) * elements
            kernel.special += _SPECIAL.get(one.name, 0) * elements
    for (mine, _), size in read.items():
        kernels[mine].bytes += size
    return list(kernels.values())
