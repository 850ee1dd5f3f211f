"""Questions about a model beside its life: how many labels it needs, what its start is worth, what the seed decides.

A study trains with the engine in this process on the rows that ``split`` left, outside the graph: it writes below
studies/MODEL and .finetide/studies, and no output of a stage.
"""
