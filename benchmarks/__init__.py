"""How fast exeunt is, as ratios to the same work on bare trio: `python -m benchmarks`.

Machines differ and are shared, so no absolute figure says much. Each benchmark does exeunt's work
and the same work on *raw* trio (tasks, deques and `wait_task_rescheduled`, no processes) by turns
within one run, and shows how one stands to the other. The floors that exeunt is held to stand in
`benchmarks.floors`.
"""
