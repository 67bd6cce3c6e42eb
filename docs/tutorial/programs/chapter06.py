"""A doorkeeper, who is linked to those he has let in, and does not die with them."""

import trio

from exeunt import Exit, Pid, Shutdown, exit, link, receive, run, send, spawn, trap_exit, wait_exit


async def doorkeeper() -> None:
    trap_exit()
    guests: set[Pid] = set()
    while True:
        match await receive():
            case Pid() as guest:
                link(guest)
                guests.add(guest)
                print(f"doorkeeper: {guest} is in")
            case Exit(sender, reason) if sender not in guests:
                print(f"doorkeeper: {sender} wants me to go ({reason}); I stay")
            case Exit(guest, "normal" | "shutdown" | Shutdown()):
                print(f"doorkeeper: {guest} left in good order")
            case Exit(guest, reason):
                print(f"doorkeeper: {guest} was carried out: {reason}")


async def guest() -> None:
    print(f"a guest reads: {await receive()}")


async def main() -> None:
    keeper = spawn(doorkeeper)
    guests = [spawn(guest) for _ in range(4)]
    for one in guests:
        send(keeper, one)
    await trio.sleep(0.1)
    send(guests[0], "thank you for coming")
    await trio.sleep(0.1)
    exit(guests[1], Shutdown("the last train"))
    await trio.sleep(0.1)
    exit(guests[2], "kill")
    await trio.sleep(0.1)
    exit(keeper, "fire")
    await trio.sleep(0.1)
    exit(keeper, "kill")
    print(f"and the guest who was still in: {await wait_exit(guests[3])}")


if __name__ == "__main__":
    run(main, seed=1)
