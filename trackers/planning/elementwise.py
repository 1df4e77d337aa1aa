"""What instructions of a compiled program compute besides products: operations on single numbers."""

# Operations of the special units (exponentials, roots, quotients) for each number that is computed.
_SPECIAL = {
    "exponential": 1, "log": 1, "rsqrt": 1, "sqrt": 1, "divide": 1, "cosine": 1, "sine": 1, "erf": 1, "cbrt": 1,
    "exponential-minus-one": 1, "log-plus-one": 2, "tanh": 2, "logistic": 2, "power": 2, "atan2": 2, "tan": 2,
}  # fmt: skip
# Vector operations where they are not one: a float32 quotient or root is a guess of the special unit made exact by some
# eight steps, an exponential is split in two, erf is a quotient of two polynomials, 12 terms in all.
_VECTOR = {
    "exponential": 4, "log": 8, "sqrt": 8, "divide": 8, "cosine": 16, "sine": 16, "erf": 24, "cbrt": 16, "tan": 24,
    "exponential-minus-one": 12, "log-plus-one": 12, "tanh": 16, "logistic": 12, "power": 16, "atan2": 24,
}  # fmt: skip
# They name, turn, repeat, cut or move arrays, or are counted by themselves.
_NONE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "broadcast", "reshape", "transpose", "copy",
    "slice", "dynamic-slice", "dynamic-update-slice", "concatenate", "pad", "iota", "reverse", "gather", "dot",
    "convolution", "fusion", "while", "call", "conditional", "after-all", "opt-barrier",
    "bitcast-convert", "rng-get-and-update-state",
}  # fmt: skip
# They take an operation for each number that they read.
_OF_ALL_READ = {"reduce", "reduce-window", "scatter", "select-and-scatter", "sort"}


def operations(opcode, results, read):
    """(vector, special) operations of an instruction.

    Args: results, read: how many numbers it computes, and is given.
    """
    if opcode in _NONE or opcode.endswith(("-start", "-done")):
        return 0.0, 0.0
    numbers = float(read if opcode in _OF_ALL_READ else results)
    return numbers * _VECTOR.get(opcode, 1), numbers * _SPECIAL.get(opcode, 0)
