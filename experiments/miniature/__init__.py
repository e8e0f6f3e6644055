"""A miniature SuperGLUE in the English of a small grammar: eight tasks in the layout of the official release.

`lexicon` has the words, `world` the sentences and who may use which, `tasks` the rows, `write` the files.
"""
