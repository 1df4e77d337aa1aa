"""Multiply-adds of any function, and FLOPs of a training step, read off their jaxprs: nothing is run or allocated.

Counted are matrix products and convolutions (one multiply-add per product that enters a sum); what is done element by
element (softmax, normalization, activations, positions) is not, as in the papers' "FLOPs". Only `of_step` counts a
multiply-add as two. Padding zeros count, as in every formula of the field. Loops count with their length, branches with
the dearest; what no result depends on does not count.
"""

import math

import jax

import trackers


def multiply_adds(function, *args):
    """Multiply-adds of function(*args) for those shapes.

    Args:
      function: anything that jax can trace, gradients and jitted functions included.
      *args: arrays or jax.ShapeDtypeStruct, in any pytrees.

    Returns: int. Under shard_map it is the work of one device.

    Raises: ValueError for a while loop with a matrix product in it: how often it runs is not known beforehand.
    """
    return _count(products(function, *args))


def products(function, *args):
    """[(how often, equation)] of the matrix products and convolutions that function(*args) executes.

    Arguments and errors as of multiply_adds; an equation is of a jaxpr: "dot_general" or "conv_general_dilated".
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args))


def of_tracker(model):
    """Multiply-adds of a single-object tracker for one target, and its parameters.

    Args:
      model: from trackers.build.

    Returns: {"template": int, once a target; "search": int, each frame; "whole": int, a full forward;
      "parameters": int}.
    """
    template, box, search = jax.eval_shape(lambda: trackers.example_inputs(model))
    variables = jax.eval_shape(lambda key: trackers.init(model, key), jax.random.key(0))

    def encode(variables, template, box):
        return model.apply(variables, template, box, method="encode_template")

    def locate(variables, cache, search):
        return model.apply(variables, cache, search, method="locate")

    cache = jax.eval_shape(encode, variables, template, box)
    return {
        "template": multiply_adds(encode, variables, template, box),
        "search": multiply_adds(locate, variables, cache, search),
        "whole": multiply_adds(model.apply, variables, template, box, search),
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])),
    }


def of_step(program, inputs):
    """FLOPs of matrix products and convolutions in one step on all chips, a multiply-add being two.

    Args: program: train.Program. inputs: what Program.inputs gives.

    From the jaxpr, loops with their length: forward and backward pass, a teacher's forward pass, and what the model's
    remat policy computes twice; of a program without remat these are the model's FLOPs that MFU is about.
    """
    return 2 * multiply_adds(program.take_step, *inputs)


def _of_jaxpr(jaxpr, wanted=None):
    """Of the equations that the wanted outputs depend on; wanted: a bool for each output, all when None."""
    outputs = _outputs(jaxpr)
    wanted = [True] * len(outputs) if wanted is None else wanted
    needed = {id(variable) for variable, is_wanted in zip(outputs, wanted, strict=True) if is_wanted}
    found = []
    for equation in reversed(jaxpr.eqns):
        used = [id(variable) in needed for variable in equation.outvars]
        if any(used) or equation.effects:
            needed.update(map(id, equation.invars))
            found += _of_equation(equation, used)
    return found


def _of_equation(equation, used):
    name, params = equation.primitive.name, equation.params
    if name in ("dot_general", "conv_general_dilated"):
        return [(1, equation)]
    # A call's outputs are its jaxpr's, one by one; what a loop carries may be wanted by its next round.
    loops = name in ("scan", "while")
    inner = [
        _of_jaxpr(jaxpr, None if loops or len(_outputs(jaxpr)) != len(used) else used) for jaxpr in _jaxprs(params)
    ]
    if name == "cond":
        return max(inner, key=_count)
    if name == "while" and any(inner):
        raise ValueError("multiply-adds of a while loop are not known: its number of rounds depends on the data")
    rounds = params["length"] if name == "scan" else 1
    return [(times * rounds, product) for each in inner for times, product in each]


def _count(found):
    return sum(times * of_product(equation) for times, equation in found)


def of_product(equation):
    """Multiply-adds of one of `products`."""
    params, kernel = equation.params, equation.invars[1].aval.shape
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return _size(equation.outvars[0]) * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
    per_output = math.prod(kernel) // kernel[params["dimension_numbers"].rhs_spec[0]]
    # Zeros put between the inputs (transposed convolution) are not multiplied by anything.
    return _size(equation.outvars[0]) * per_output // math.prod(params["lhs_dilation"])


def _jaxprs(params):
    """The jaxprs inside an equation: bodies of loops and branches, of jit, remat and custom derivatives."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(item, "eqns"):
                yield item


def _outputs(jaxpr):
    return getattr(jaxpr, "jaxpr", jaxpr).outvars


def _size(variable):
    return math.prod(variable.aval.shape)
