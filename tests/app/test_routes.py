"""What holds for all routes together."""

from collections import Counter

from atlas.api.app import create_app


def declared(router, seen):
    """List the routes of each router once: some stand below several prefixes."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield from ((method, route.path) for method in getattr(route, "methods", None) or ())
        elif id(inner) not in seen:
            seen.add(id(inner))
            yield from declared(inner, seen)


def test_no_route_is_declared_twice(plain_settings):
    """Of two with one path the first answers, and which that is depends on the order of modules."""
    found = Counter(declared(create_app(plain_settings), set()))
    assert len(found) > 100
    assert [route for route, times in found.items() if times > 1] == []
