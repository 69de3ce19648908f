"""Using Atlas as a program does: add pages, wait until they are read, look at them."""

import time

import httpx2

ENDED = {590, 595, 599, 777}


def article(name: str) -> str:
    """Write a page that no other has the text of."""
    text = "".join(
        f"<p>The {name} stood in the water for the {count}th time that morning, and whoever watched it, said "
        f"the {name}, had better bring some patience and a warm coat, for nothing would happen soon.</p>"
        for count in range(4, 12)
    )
    head = f"<!doctype html><html lang=en><title>On the {name}</title>"
    return f"{head}<body><article><h1>On the {name}</h1>{text}</article>"


def feed(link: str) -> str:
    """Write a feed of one entry that says nothing but where its page is."""
    entry = f"<item><title>One more bird</title><link>{link}</link></item>"
    return f'<rss version="2.0"><channel><title>Birds</title><link>/</link>{entry}</channel></rss>'


def answers(client: httpx2.Client) -> bool:
    """Say whether the app is there and ready."""
    try:
        return client.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False


class Library:
    """An API client that can wait."""

    def __init__(self, client: httpx2.Client, token: str) -> None:
        self.client = client
        self.client.headers["Authorization"] = f"Bearer {token}"

    def add(self, url: str) -> int:
        """Add a page and return its item's id."""
        answer = self.client.post("/api/items", json={"url": url})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def item(self, number: int) -> dict:
        """Return an item with its text."""
        answer = self.client.get(f"/api/items/{number}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def read(self, url: str, seconds: float = 30) -> dict:
        """Add a page, wait until nothing more happens to it, and return it."""
        return self.ended([self.add(url)], seconds)[0]

    def ended(self, numbers: list[int], seconds: float) -> list[dict]:
        """Wait until nothing more happens to the items, and return them."""
        end = time.monotonic() + seconds
        items = []
        for number in numbers:
            while (item := self.item(number))["stage"] not in ENDED:
                assert time.monotonic() < end, (
                    f"after {seconds} s item {number} is at {item['stage']}: {item['error']}"
                )
                time.sleep(0.2)
            items.append(item)
        return items

    def search(self, words: str) -> list[dict]:
        """Return what a search finds."""
        answer = self.client.get("/api/search", params={"q": words})
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]
