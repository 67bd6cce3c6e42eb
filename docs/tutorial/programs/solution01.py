"""Two rooms, and one that is closed from outside."""

from chapter01 import room

from exeunt import exit, is_alive, run, spawn, wait_exit


async def main() -> None:
    lobby = spawn(room, "lobby")
    garden = spawn(room, "garden")
    exit(garden, "it rains")
    print(f"the garden has ended: {await wait_exit(garden)}; the lobby lives: {is_alive(lobby)}")
    print(f"the lobby has ended: {await wait_exit(lobby)}")


if __name__ == "__main__":
    run(main, seed=1)
