"""Image files: decoded to intensities and back, with their metadata, and written atomically."""
