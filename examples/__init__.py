"""Programs that show what exeunt is for; each runs with `python -m examples.NAME`."""
