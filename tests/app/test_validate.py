"""Walls are refused; pages that only speak of walls are not."""

import pytest

from atlas.reading import phrases
from atlas.stages.page import PageError
from atlas.stages.read import read_page

PROSE = "The tide came in while nobody looked, and took the picnic with it. "


def read(title: str, body: str) -> str:
    """Return why a page is refused; "" when it is not."""
    markup = f"<!doctype html><html><head><title>{title}</title></head><body>{body}</body></html>"
    try:
        read_page(markup.encode(), "text/html", "https://a.example/x")
    except PageError as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("How browsers came to need JavaScript", "Once a page said: please enable JavaScript. "),
        (
            "Error 404: a short history of the page not found",
            "The page was not found, said the first server. ",
        ),
        (
            "Sign in to everything, forget nothing",
            "You must be logged in, says the form, and you log in to continue. ",
        ),
        (
            "Cookie banners and what they cost",
            "We use cookies, says every banner, and asks for consent. Accept all? ",
        ),
        (
            "Why I let subscribers read first",
            "This post is for paying subscribers, I wrote once, and was sorry. ",
        ),
    ],
)
def test_articles_about_walls_are_read(title: str, text: str) -> None:
    body = (
        f"<nav><a href=/login>Log in</a></nav><article><h1>{title}</h1>"
        + f"<p>{text}{PROSE * 4}</p>" * 8
        + "</article>"
    )
    assert read(title, body + "<button>Accept all</button><form><input type=password></form>") == ""


@pytest.mark.parametrize(
    "surroundings",
    [
        "<noscript>Please enable JavaScript to see the comments.</noscript><script>x</script>",
        '<div id="root"></div><script src="x"></script>',
        '<form action="/login"><input name="user"><input type="password"><button>Log in</button></form>',
        '<div class="banner">We use cookies. See our cookie policy. <button>Accept all</button></div>',
        '<p class="sub">Already a subscriber? <a href="/login">Sign in</a></p>',
        '<a href="/404">Lost?</a>',
    ],
)
def test_a_short_article_in_the_usual_surroundings_is_read(surroundings: str) -> None:
    article = f"<article><h1>The picnic</h1><p>{PROSE * 5}</p><p>{PROSE * 5}</p></article>"
    assert read("The picnic - A Site", f"{surroundings}{article}") == ""
    assert read("The picnic - A Site", f"{article}{surroundings}") == ""


def test_a_note_of_two_sentences_is_read() -> None:
    assert read("A note", f"<p>{PROSE}It was not a good picnic anyway, as everybody agreed later.</p>") == ""


def test_a_list_with_sentences_is_no_list_of_links() -> None:
    items = "".join(f'<li><a href="/{n}">Link number {n}</a>: {PROSE}</li>' for n in range(20))
    assert read("Things I read", f"<article><p>{PROSE * 2}</p><ul>{items}</ul></article>") == ""


def test_a_list_of_links_is_refused_however_long() -> None:
    items = "".join(f'<li><a href="/{n}">{PROSE}</a></li>' for n in range(100))
    assert read("Archive", f"<main><ul>{items}</ul></main>") == "not_an_article"


@pytest.mark.parametrize(
    ("title", "body", "code"),
    [
        ("x", "<script>x</script>", "needs_javascript"),
        ("x", "", "empty_page"),
        ("App", "<p>This app requires JavaScript. Please turn it on.</p>", "needs_javascript"),
        ("App", "<app-root></app-root><script src=main.js></script>", "needs_javascript"),
        (
            "Anubis",
            "<h1>Making sure you're not a bot!</h1><p>Checking your browser before you go on.</p>",
            "needs_javascript",
        ),
        ("Sign in - Corp", '<a href="/sso">Continue with Corp account</a>', "login_wall"),
        (
            "Private",
            "<p>You need to be logged in to see this group. Ask an administrator for help.</p>",
            "login_wall",
        ),
        ("Anmelden | Forum", '<form><input><input type="PASSWORD"></form>' + PROSE * 2, "login_wall"),
        (
            "A story",
            f"<article><p>{PROSE * 6}</p><p>This story is for members only. Upgrade now.</p></article>",
            "login_wall",
        ),
        (
            "Der Deich",
            f"<article><p>{PROSE * 6}</p><p>Jetzt abonnieren und weiterlesen</p></article>",
            "login_wall",
        ),
        (
            "Whoops",
            "<p>The article you are looking for no longer exists. It may have expired.</p>",
            "soft_404",
        ),
        ("Page introuvable", f"<p>{PROSE * 3}</p>", "soft_404"),
        ("Gazette", f"<h1>404 Not Found</h1><p>{PROSE * 3}</p>", "soft_404"),
        ("Gazette", f"<h2>Oops! Error 404</h2><p>{PROSE * 3}</p>", "soft_404"),
        (
            "Vie privée",
            (
                "<p>Avec votre consentement, nous utilisons des cookies. Les cookies servent à la mesure.</p>"
                "<button>Tout accepter</button>"
            ),
            "cookie_wall",
        ),
        ("x", "<p>Three words only.</p>", "not_an_article"),
    ],
)
def test_what_is_no_article_is_called_by_its_name(title: str, body: str, code: str) -> None:
    assert read(title, body) == code


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (phrases.NOT_FOUND_TITLE, "Found: the page that was lost"),
        (phrases.NOT_FOUND_TITLE, "Area 404 and other places"),
        (phrases.NOT_FOUND_TITLE, "What I found on page four"),
        (phrases.LOGIN_TITLE, "The login that changed my life"),
        (phrases.LOGIN_TITLE, "Signs in the desert"),
        (phrases.LOGIN_TITLE, "Logging in the rain forest"),
        (phrases.PAYWALL, "This article is for everyone who likes swifts."),
        (phrases.PAYWALL, "Subscribe to my feed."),
        (phrases.CHECKS_BROWSER, "It took just a moment."),
        (phrases.WANTS_JAVASCRIPT, "JavaScript is a language."),
        (phrases.COOKIES, "She baked biscuits."),
        (phrases.ACCEPT_COOKIES, "Agree to disagree"),
    ],
)
def test_harmless_words_match_nothing(pattern: "phrases.re.Pattern[str]", text: str) -> None:
    assert pattern.search(text) is None


def test_no_phrase_is_slow_on_text_made_to_be() -> None:
    texts = [
        word * (20_000 // len(word))
        for word in ("enable ", "page ", "log in ", "error ", "404 ", "a", " ", "cookie", "sie müssen ")
    ]
    for pattern in vars(phrases).values():
        if isinstance(pattern, phrases.re.Pattern):
            for text in texts:
                pattern.search(text)


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("502 Bad Gateway", "nginx"),
        ("Error 503", "The service is unavailable right now, please come back in a few minutes, thank you."),
        ("Internal Server Error", PROSE * 3),
        ("Example", "Error establishing a database connection"),
        ("Example", "Sorry, this video is not available in your country. " * 2),
        ("Example", "Dieser Inhalt ist in Ihrem Land leider nicht verfügbar. " * 2),
        ("Under maintenance", "We are back in a few hours, in the meantime have a look at our blog please."),
        ("Wartungsarbeiten", "Wir sind in wenigen Stunden wieder für Sie da und bitten bis dahin um Geduld."),
        ("example.com", "This domain is for sale! Make an offer to its owner today, or call our brokers."),
        (
            "Index of /files",
            "Parent directory, readme.txt, photos, music, and a few more things to download.",
        ),
    ],
)
def test_errors_that_come_as_pages_are_refused(title: str, text: str) -> None:
    assert read(title, f"<h1>{title}</h1><p>{text}</p>") == "error_page"


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Bad gateway: how I fixed our 502 errors", PROSE * 12),
        ("Maintenance of wooden boats", PROSE * 12),
        ("The domain name market", f"This domain is for sale, said the page. {PROSE * 12}"),
    ],
)
def test_articles_about_errors_are_read(title: str, text: str) -> None:
    assert read(title, f"<h1>{title}</h1><p>{text}</p>") == ""


@pytest.mark.parametrize(
    "end",
    [
        "Dieser Artikel ist nur für Abonnenten.",
        "Questo contenuto è riservato agli abbonati.",
        "Dit artikel is alleen voor abonnees.",
        "Artykuł dostępny tylko dla subskrybentów.",
        "Материал доступен только для подписчиков.",
        "この記事は有料会員限定です。",
        "订阅后继续阅读全文。",
    ],
)
def test_paywalls_of_many_languages_are_told(end: str) -> None:
    assert read("A walk", f"<article><h1>A walk</h1><p>{PROSE * 6}</p><p>{end}</p></article>") == "login_wall"
