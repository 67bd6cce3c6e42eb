"""To trap is not to be safe: what still ends a process that traps exits."""

import trio

from exeunt import Exit, exit, receive, run, spawn, trap_exit, wait_exit


async def stubborn() -> None:
    trap_exit()
    while True:
        match await receive():
            case Exit(_, reason):
                print(f"somebody wants me to end: {reason}")


async def main() -> None:
    for reason in ("please", "shutdown", "killed", "kill"):
        pid = spawn(stubborn)
        await trio.sleep(0.1)
        exit(pid, reason)
        with trio.move_on_after(0.1):
            print(f"{reason}: it has ended, {await wait_exit(pid)}")
            continue
        print(f"{reason}: it lives")
        exit(pid, "kill")


if __name__ == "__main__":
    run(main, seed=1)
