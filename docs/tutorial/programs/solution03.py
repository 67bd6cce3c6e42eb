"""A crash as a value: the reason has the exception, and where it came from."""

import trio
from chapter02 import Say, room
from chapter03 import member

from exeunt import Crash, run, send, spawn, wait_exit


async def main() -> None:
    lobby = spawn(room)
    ann = spawn(member, "ann", lobby)
    await trio.sleep(0.1)
    send(lobby, Say("bob", "hello!"))
    match await wait_exit(ann):
        case Crash(ValueError() as error):
            last = error.__traceback__
            while last is not None and last.tb_next is not None:
                last = last.tb_next
            assert last is not None
            print(f"a ValueError, raised in {last.tb_frame.f_code.co_name}: {error}")
        case other:
            print(f"something else: {other}")


if __name__ == "__main__":
    run(main, seed=1)
