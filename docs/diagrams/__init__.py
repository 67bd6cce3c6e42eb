"""The diagrams of the documentation, drawn from what the code does: `python -m docs.diagrams`.

Real processes, connections and joins are led to their ends in every way there is, and each step
that they take is noted; trees are those of the real programs, asked for with `exeunt.tree()`. What
was noted is kept in `recorded.json`, and the pictures are drawn from nothing else. By hand come
only the place of a thing in its picture and the words for it; what is recorded and has no place, or
has a place and is not recorded, is an error.
"""
