"""Scenarios that were run on a real BEAM, replayed on exeunt and compared step by step.

    python -m tests.conformance FILE.jsonl [FILE.jsonl …]

A line of a file is a scenario and the trace that Erlang/OTP 25 gave. `golden/` has them in three
families, each with an executor here that uses the public API alone: `signals`, `genserver` and
`supervisor`, run by `replay`. Of each family there are two files: `thin` has random scenarios that
were chosen for the operations, results and specifications that `dev` has hardly any of. What a
scenario may be made of stands in `language`.

For each family there is also a plain model of its rules, which knows nothing of exeunt: `model`,
`servers` and `trees`. The models are shown right by the recorded traces; with them, the tests write
scenarios of their own.
"""
