"""A file for each model that config.model.name can say; the letters of shapes are told in trackers/nn/__init__.py."""
