"""An example of a plugin; docs/plugins.md explains it."""
