"""How the bundled backbones were made: `python -m experiments.pretrain.train tiny`."""
