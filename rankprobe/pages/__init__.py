"""A report of runs as one HTML file, which needs no network and no other file.

write      `report`: runs in, file out; again and again while a run goes on
subjects   which runs a report is of: the groups of seeds, what is damaged, what is missing
banner     what the report is of, above everything else
details    the sections about one group of seeds
overview   the sections about many runs
tables     tables for the page
render     the file: template, style, script, Content-Security-Policy
"""

from rankprobe.pages.write import report

__all__ = ["report"]
