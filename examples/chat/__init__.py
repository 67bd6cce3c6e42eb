"""Chat rooms in which every disconnect is an exit signal."""
