"""Results of the engine on the event loop: all of a block in one turn, and counted until their answers are made."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Thread

from ledger_node.http.watch import Commits


def test_answers_on_their_way_count_as_arrivals() -> None:
    """From the turn that wakes those who wait until each has run, all count; after that none does."""
    counted, seen = [0], list[tuple[str, int]]()

    def arrival(count: int) -> None:
        counted[0] += count

    async def main() -> None:
        commits = Commits(asyncio.get_running_loop(), arrival)
        futures = [Future[str]() for _ in range(3)]

        async def wait(future: Future[str]) -> None:
            seen.append((await commits.wait(future), counted[0]))

        tasks = [asyncio.create_task(wait(future)) for future in futures[:2]]
        commits.then(futures[2], lambda done: seen.append((done.result(), counted[0])))
        await asyncio.sleep(0)

        def engine() -> None:
            for number, future in enumerate(futures):
                future.set_result(f"{number}")

        thread = Thread(target=engine)
        thread.start()
        thread.join()
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert sorted(seen) == [("0", 3), ("1", 3), ("2", 3)]
    assert counted == [0]
