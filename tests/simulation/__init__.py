"""Two sites in simulated time, with crashes between every two steps; a history is its seed's, and replays exactly.

`timeline`, `network`, `agent`, `controller` and `faults` are one mechanism: moments, messages, processes that die.
Two kinds of histories use it. `history` here: copy managers, which must heal everything by themselves, over
controllers (`primary`, `secondary`) that flush late. `commands/`: the same with an operator, over controllers
that take any role and hold what was written.
"""
