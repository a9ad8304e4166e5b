from typing import Any

from {{ cookiecutter.package_name }}.store import {{ cookiecutter.resource_name }}Store


async def test_whoever_watches_misses_nothing_between_what_there_is_and_what_is_new() -> None:
    store, seen = {{ cookiecutter.resource_name }}Store(), []
    for number in range(3):
        store.add("acme", str(number))
    watch: Any = store.watch("acme", 1)
    async for sequence, found in watch:
        seen.append((sequence, found.title))
        if len(seen) <= 5:  # while the watcher is at each place of what there is, then of what is new
            store.add("globex", "not ours")
            store.add("acme", str(len(seen) + 2))
        if len(seen) == 7:
            break
    await watch.aclose()
    assert seen == [(number + 1, str(number)) for number in range(1, 8)]


async def test_a_watcher_may_be_as_slow_as_it_likes() -> None:
    store = {{ cookiecutter.resource_name }}Store()
    watch: Any = store.watch("acme", 0)
    store.add("acme", "first")
    seen = [(await anext(watch))[0]]
    for _ in range(5000):
        store.add("acme", "x")
    seen += [(await anext(watch))[0] for _ in range(5000)]
    await watch.aclose()
    assert seen == list(range(1, 5002))


async def test_a_watcher_that_goes_away_is_forgotten() -> None:
    store = {{ cookiecutter.resource_name }}Store()
    store.add("acme", "first")
    watch: Any = store.watch("acme", 0)
    await anext(watch)
    assert len(store._watchers) == 1
    await watch.aclose()
    assert store._watchers == set()
