"""Names that shops and benchmarks give to columns and events, in small letters and digits alone."""

from __future__ import annotations

import re

COLUMNS: dict[str, tuple[str, ...]] = {
    "user": (
        "userid", "user", "customerid", "customer", "reviewerid", "reviewer", "memberid", "member", "buyerid", "buyer",
        "accountid", "account", "clientid", "client", "visitorid", "visitor", "personid", "profileid", "householdkey",
        "membernumber", "username", "useridhash", "msno", "uid", "user_idx", "sessionid", "session", "cookieid",
    ),
    "item": (
        "itemid", "item", "productid", "product", "sku", "asin", "parentasin", "stockcode", "articleid", "article",
        "movieid", "movie", "bookid", "isbn", "trackid", "songid", "artistid", "videoid", "gameid", "appid",
        "newsid",
        "contentid", "adid", "adgroupid", "listingid", "offerid", "recipeid", "businessid",
        "placeid", "itemdescription",
        "productcode", "iid", "pid", "animeid", "courseid", "jobid",
    ),
    "event": (
        "event", "eventtype", "eventname", "behavior", "behaviour", "behaviortype", "behaviourtype", "action",
        "actiontype", "interaction", "interactiontype", "activity", "verb", "type",
    ),
    "timestamp": (
        "timestamp", "eventtime", "time", "datetime", "unixreviewtime", "timestampms", "ts", "unixtime", "createdat",
        "created", "invoicedate", "orderdate", "purchasedate", "orderpurchasetimestamp", "transactiondate", "tdat",
        "date", "when", "at", "reviewtime", "ratedat", "dateadded", "visittime", "day",
    ),
    "rating": ("rating", "overall", "stars", "score", "ratings", "bookrating", "reviewscore", "myscore", "star"),
    "quantity": ("quantity", "qty", "units", "count", "numitems", "amount"),
    "order": ("order", "position", "rank", "step", "sequence", "seq", "index", "ordernumber", "addtocartorder"),
    "title": ("title", "name", "itemname", "productname", "producttitle", "description", "productdescription",
              "movietitle", "booktitle", "prodname", "summary"),
}  # fmt: skip
"""Role → names, those that say it more surely first."""

EVENTS: dict[str, tuple[str, ...]] = {
    "click": ("pv", "view", "views", "click", "clicks", "pageview", "detail", "play", "listen", "watch", "visit",
              "open", "read", "viewitem", "productview", "clk"),
    "like": ("fav", "like", "favorite", "favourite", "wishlist", "save", "bookmark", "follow", "upvote", "star", "love",
             "collect", "share"),
    "cart": ("cart", "addtocart", "add2cart", "basket", "addtobasket", "atc"),
    "purchase": ("buy", "purchase", "order", "transaction", "bought", "pay", "checkout", "sale", "conversion"),
    "impression": ("impression", "impr", "show", "expose", "exposure", "display", "shown"),
    "skip": ("skip", "dislike", "hide", "downvote"),
    "": ("removefromcart", "unlike", "return", "refund", "cancel"),
}  # fmt: skip
"""Event of Pagoda (or one to declare; the empty one: none) → words for it."""

NUMBERS = ("price", "cost", "year", "age", "weight", "length", "duration", "size", "amount", "runtime", "pages")
"""What is in the name of a column whose numbers are amounts and no names of things."""


def plain(name: str) -> str:
    """A name without what people put between its words."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def feature_name(column: str) -> str:
    """A column's name as that of a feature."""
    return re.sub(r"\W+", "_", column.lower(), flags=re.ASCII).strip("_") or "column"


def event_of(word: str) -> str | None:
    """What an event in a file is here; the empty one: none at all; None: there is no telling."""
    return next((event for event, words in EVENTS.items() if plain(word) in words), None)
