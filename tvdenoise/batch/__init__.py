"""Many files: planned first, then done one after the other, each one reported."""
