"""How the project's own data, backbones and results were made."""
