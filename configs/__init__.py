"""Config files: `base.yaml`, `task/`, `model/`, `recipe/<task>/<model>.yaml`."""
