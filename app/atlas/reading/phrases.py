"""What walls, shells and error pages say, in the languages of most of the web. For text on one line."""

import re


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


WANTS_JAVASCRIPT = _any_of(
    r"(?:enable|activate|turn on|allow|requires?|needs?|without|support) (?:\S+ ){0,4}?java ?script",
    r"java ?script (?:\S+ ){0,3}?(?:must|disabled|required|enabled|turned off|switched off|not available)",
    r"java ?script (?:\S+ ){0,3}?(?:aktivieren|deaktiviert|einschalten|benötigt)",
    r"(?:aktivier\w+|activer|activez|désactivé) (?:\S+ ){0,3}?java ?script",
    r"java ?script (?:\S+ ){0,3}?(?:activé|désactivé)",
    r"(?:habilit\w+|activ[ae]\w*|ativ[ae]\w*|abilit\w+|schakel) (?:\S+ ){0,3}?java ?script",
    r"java ?script ?[をが]|(?:启用|開啟|开启) ?java ?script|включит[еь] java ?script",
)
CHECKS_BROWSER = _any_of(
    r"checking (?:your browser|if the site connection)",
    r"verif(?:y|ying) (?:that )?you are (?:a )?human",
    r"are you a (?:ro)?bot\b|(?:i.m|you.re|you are) not a robot",
    r"^just a moment",
    r"ddos protection by|attention required! \| cloudflare",
    r"unusual traffic from your",
    r"press (?:&|and) hold|pardon our interruption",
    r"access to this page has been denied|complete the (?:security check|captcha)",
)
NOT_FOUND_TITLE = _any_of(
    r"^(?:error\W*|http\W*|oops\W*|sorry\W*)*(?:404|410)\b|\W404\W*$",
    r"\b404 (?:error|not found|page)|\berror\W{1,3}404\b",
    r"\b(?:page|article|story|document|file|content|post) (?:\S+ ){0,4}?(?:not (?:be )?found|not exist)",
    r"\b(?:page|article|story|document|content|post) (?:\S+ ){0,4}?no longer (?:available|exists?)",
    r"\b(?:page|article|story|content) (?:unavailable|missing)$|^not found\b",
    r"\b(?:seite|artikel|beitrag) (?:\S+ ){0,4}?nicht (?:mehr )?(?:gefunden|verfügbar|vorhanden)",
    r"\b(?:page|article) (?:introuvable|non trouvée?|inexistante?)",
    r"página no (?:encontrada|existe)|página não encontrada|pagina non trovata|pagina niet gevonden",
    r"страница не найдена|(?:ページ|記事)が?(?:見つかりません|ありません)",
    r"页面不存在|找不到(?:该|此)?(?:页面|网页)|페이지를 찾을 수 없",
)
_THING = r"(?:page|article|story|content|document) (?:\S+ ){0,6}?"
NOT_FOUND_TEXT = _any_of(
    rf"{_THING}(?:couldn.t|could not|cannot|can.t) be (?:found|located)",
    rf"{_THING}(?:was not found|wasn.t found|is not found|doesn.t exist|does not exist)",
    rf"{_THING}(?:no longer (?:exists|available)|has been (?:removed|deleted))",
    r"(?:can.t|cannot|couldn.t|could not|unable to) (?:seem to )?find (?:the|that|this) (?:page|article)",
    r"(?:seite|artikel) (?:\S+ ){0,6}?(?:nicht gefunden|existiert nicht|nicht mehr verfügbar)",
    r"page (?:\S+ ){0,6}?(?:n.existe (?:pas|plus)|introuvable|n.a pas été trouvée)",
    r"página (?:\S+ ){0,6}?(?:no existe|não existe|no se encuentra|não foi encontrada)",
)
LOGIN_TITLE = _any_of(
    r"^\W*(?:please |member |account )?(?:log|sign)[ -]?(?:in|on)\b",
    r"\b(?:log|sign)[ -]?in\W*$|\b(?:log|sign)[ -]in to\b",
    r"^(?:anmelden|anmeldung|einloggen|connexion|se connecter|identifiez-vous)\b",
    r"^(?:iniciar sesión|accedi|entrar|inloggen)\b",
    r"^(?:вход|войти|登录|登入|ログイン|로그인)",
)
PAYWALL = _any_of(
    r"(?:log|sign)[ -]?in (?:\S+ ){0,4}?(?:to|and) (?:continue|keep) reading|(?:log|sign)[ -]?in to read",
    r"(?:subscribe|register|sign up) (?:\S+ ){0,3}?to (?:continue|keep|read the|unlock)",
    r"(?:article|story|content|post) is (?:\S+ ){0,3}?(?:for|to) (?:\S+ ){0,2}?(?:subscribers|members)",
    r"(?:create|register for) (?:a |your )?free account to (?:continue|keep|read)",
    r"(?:become|upgrade to) (?:a )?(?:paid |paying )?(?:member|subscriber) to",
    r"reached your (?:\S+ ){0,3}?(?:article )?limit",
    r"nur für abonnent|jetzt (?:abonnieren|anmelden) und weiterlesen|(?:weiterlesen|lesen) mit \S+\+",
    r"réservée? (?:aux|à nos) abonnés|abonnez-vous pour",
    r"exclusivo para (?:suscriptores|assinantes)|suscríbe\w* para",
    r"(?:artikel|beitrag|inhalt) (?:\S+ ){0,3}?nur (?:für|mit) (?:\S+ ){0,2}?(?:abonnent|abo\b|plus\b)",
    r"riservat[oa] agli abbonati|abbonati per (?:continuare|leggere)",
    r"(?:alleen|exclusief) voor abonnees|word abonnee (?:om|en) ",
    r"(?:bara|endast) för prenumeranter|(?:kun|bare|forbeholdt) (?:for )?abonnenter",
    r"(?:tylko|wyłącznie) dla (?:subskrybentów|prenumeratorów)",
    r"только для подписчиков|оформите подписку, чтобы",
    r"この記事は(?:有料)?会員限定|会員限定記事|有料会員(?:になると|限定)|订阅后(?:继续)?阅读|付费(?:阅读|内容)",
)
#: What a server says of itself, as a title.
ERROR_TITLE = _any_of(
    r"^(?:error\W*|http\W*)*50[0-4]\b|^(?:\d{3}\W*)?(?:bad gateway|gateway time-?out)\b",
    r"^(?:\d{3}\W*)?(?:internal server error|service (?:temporarily )?unavailable)\b",
    r"^(?:\d{3}\W*)?(?:403\W*)?forbidden\W*$|^access denied\W*$|^database error\W*$",
    r"^(?:site |down for |scheduled |under )maintenance\b|^wartungs(?:arbeiten|modus)|^account suspended\b",
    r"^maintenance en cours|^en mantenimiento|^in manutenzione|^сайт на обслуживании|^メンテナンス中",
    r"\bdomain (?:\S+ ){0,3}?(?:is )?for sale\b|\bparked domain\b|^index of /",
)
ERROR_TEXT = _any_of(
    r"error establishing a database connection|the server (?:\S+ ){0,4}?(?:internal error|unable to handle)",
    r"(?:upstream|origin|backend) (?:\S+ ){0,3}?(?:connect error|request timeout|unavailable)",
    r"(?:not|isn.t) (?:currently )?available in your (?:country|region|location)",
    r"(?:undergoing|down for|performing) (?:\S+ ){0,3}?maintenance|this domain (?:\S+ ){0,3}?for sale",
    r"in (?:ihrem|deinem) land (?:\S+ ){0,3}?nicht verfügbar|n.est pas disponible dans votre (?:pays|région)",
    r"no está disponible en (?:tu|su) (?:país|región)|этот контент недоступен в вашем (?:регионе|стране)",
)
MEMBERS_ONLY = _any_of(
    r"(?:log|sign)[ -]?in (?:\S+ ){0,4}?(?:to|and) (?:continue|view|see|access|unlock)",
    r"you (?:must|need to|have to) (?:be )?(?:log(?:ged)?|sign(?:ed)?)[ -]?in",
    r"(?:create|register for) (?:a |your )?(?:free )?account to|already a (?:subscriber|member)\W",
    r"(?:sie müssen|bitte) (?:\S+ ){0,3}?(?:anmelden|einloggen)|vous devez (?:\S+ ){0,2}?connect",
)
COOKIES = _any_of(
    r"cookie|\bconsent\b|gdpr|rgpd|dsgvo|einwilligung|zustimm|consentement|consentimiento|consenso|datenschutz",
    r"privacy (?:settings|choices|policy|preferences)|personal data|our partners",
)
#: On buttons.
ACCEPT_COOKIES = _any_of(
    r"(?:accept|agree|allow|reject|manage) (?:all|and|cookies|preferences|options)|i (?:accept|agree)\b",
    r"alle? (?:cookies )?(?:akzeptieren|zulassen|ablehnen)|akzeptieren und|zustimmen und",
    r"tout (?:accepter|refuser)|accepter et|j.accepte|aceptar (?:todo|y)|accetta (?:tutti|e)|akkoord",
)
