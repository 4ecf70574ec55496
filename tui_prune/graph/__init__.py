"""Which channels stand and fall together.

One forward pass runs under a dispatch mode (`trace`, `tracer`). Every axis of every parameter starts with labels
(`labelling`), and for each operator a rule in `ops/` says what happens to them. Ties between labels make channels,
channels make groups (`grouping`). An operator without a rule locks what reaches it.

| word | meaning |
| --- | --- |
| axis | one dimension of one parameter or buffer, such as dimension 0 of `layer1.0.conv1.weight` |
| slot | one index on one axis |
| label | the slot that an element of a tensor goes away with; -1: it can't go away |
| channel | a set of slots that must be kept or cut together |
| group | the channels that one producer, or several tied ones, puts out: what a user gives a ratio to |
| block | a part of a group in which as many channels must stay as in its sibling blocks |
| lock | channels that can't be cut, with the reason and, where there is one, the line of the model's code |
| criterion | how important a channel is, one number a channel |
| recipe | what the user chose: ratio, alignment, criterion, scope, choices for single layers |
| plan | what follows from it: for each group the channels that stay |
| cut | a plan carried out on a module |
| replay | a second trace, of the cut module, that proves the plan and fixes the order of columns |
| verify | a comparison of the cut module's numbers with the masked original's |
"""
