"""Pure array functions: boxes and crops."""
