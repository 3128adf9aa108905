"""A neutral suite: one folder a seam, each test naming the sentences of a specification that it checks."""
