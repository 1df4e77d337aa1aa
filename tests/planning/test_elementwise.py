import jax
import jax.numpy as jnp
import pytest

from trackers.planning import elementwise, program


@pytest.mark.parametrize(
    ("opcode", "counts"),
    [
        ("add", (8, 0)),
        ("exponential", (4 * 8, 8)),
        ("divide", (8 * 8, 8)),
        ("reduce", (64, 0)),
        ("bitcast", (0, 0)),
        ("dot", (0, 0)),
        ("all-reduce-start", (0, 0)),
    ],
)
def test_operations_of_an_instruction(opcode, counts):
    assert elementwise.operations(opcode, results=8, read=64) == counts


def test_a_compiled_function_is_counted_through_its_fusions():
    compiled = jax.jit(lambda x: jnp.exp(x) + 1.0).lower(jax.ShapeDtypeStruct((16, 128), jnp.float32)).compile()
    (operation,) = program.read(compiled.as_text()).operations
    assert (operation.vector, operation.special) == (5 * 16 * 128, 16 * 128)
