"""The words of the miniature world."""

from __future__ import annotations

WOMEN = (
    "Anna Clara Elena Greta Irene Lena Maria Nora Olga Paula "
    "Rosa Sofia Tina Vera Wanda Yara Zoe Frida Hanna Ida"
).split()
MEN = (
    "Boris David Felix Hugo Jonas Karl Leo Martin Nils Oscar "
    "Peter Rufus Simon Tom Victor Willem Adam Bruno Emil Ivan"
).split()
PEOPLE = WOMEN + MEN

THINGS = (
    "lamp ladder letter kettle violin map basket clock coat drum "
    "mirror kite chair saddle wheel candle flute carpet hammer bottle"
).split()

PLACES = "garden library station market harbour kitchen museum forest school tower cellar theatre".split()

DEEDS = {
    "find": "found",
    "hide": "hid",
    "break": "broke",
    "paint": "painted",
    "lose": "lost",
    "carry": "carried",
    "fix": "fixed",
    "steal": "stole",
    "clean": "cleaned",
    "draw": "drew",
    "burn": "burned",
    "weigh": "weighed",
}
"""Base form and past tense of what someone does with a thing."""

PARTICIPLES = {"hid": "hidden", "broke": "broken", "stole": "stolen", "drew": "drawn"}
"""Where the participle is not the past tense."""

TRANSFERS = {
    "sell": ("sold", "buy", "bought"),
    "lend": ("lent", "borrow", "borrowed"),
    "give": ("gave", "get", "got"),
}
"""Verb of the giver, its past tense, and both forms of the taker's verb."""

TIMES = (
    "on Monday",
    "on Tuesday",
    "on Friday",
    "last week",
    "last year",
    "this morning",
    "yesterday",
    "at noon",
)

SCENES = (
    "was tired",
    "had a long day",
    "came home late",
    "waited for news",
    "sat by the window",
    "talked to a friend",
    "made some tea",
    "read the paper",
)

FACTIVE = (
    ("know", "knew"),
    ("realise", "realised"),
    ("remember", "remembered"),
    ("notice", "noticed"),
    ("forget", "forgot"),
    ("regret", "regretted"),
)
ANTIFACTIVE = ("pretend", "pretended"), ("imagine", "imagined"), ("dream", "dreamt"), ("invent", "invented")
VERIDICAL = ("prove", "proved"), ("confirm", "confirmed"), ("discover", "discovered")
NEUTRAL = ("think", "thought"), ("hope", "hoped"), ("say", "said"), ("fear", "feared"), ("guess", "guessed")
TRUE = ("true", "a fact")
FALSE = ("false", "a lie")

SENSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bank": (
        ("sat on the bank of the river", "fished from the grassy bank", "walked along the muddy bank"),
        ("took money from the bank", "asked the bank for a loan", "opened an account at the bank"),
    ),
    "bat": (
        ("saw a bat fly at night", "heard a bat in the cave", "chased a hungry bat away"),
        ("hit the ball with a bat", "swung the wooden bat", "bought a bat for the game"),
    ),
    "ring": (
        ("wore a golden ring", "put a ring on the finger", "lost the wedding ring"),
        ("heard the ring of the bell", "woke at the ring of the phone", "answered after one ring"),
    ),
    "seal": (
        ("saw a seal in the sea", "fed a fish to the seal", "watched the seal swim"),
        ("broke the seal of the letter", "pressed the seal into the wax", "checked the seal on the door"),
    ),
    "spring": (
        ("planted flowers in spring", "waited for the warm spring", "was born in early spring"),
        ("drank from the cold spring", "found a spring in the hills", "filled the jug at the spring"),
    ),
    "match": (
        ("won the football match", "lost the match by one goal", "played a match of tennis"),
        ("lit the fire with a match", "struck a match in the dark", "dropped a burning match"),
    ),
    "note": (
        ("sang a high note", "played a wrong note", "held the last note of the song"),
        ("left a note on the table", "wrote a short note", "read the note twice"),
    ),
    "plant": (
        ("watered the green plant", "cut the leaves of the plant", "grew a plant in a pot"),
        ("worked at the car plant", "closed the old steel plant", "managed a plant with many workers"),
    ),
    "letter": (
        ("posted a letter to a friend", "got a letter in the mail", "sent a long letter"),
        ("spelled a word with one letter", "forgot a letter of the alphabet", "wrote a capital letter"),
    ),
    "trunk": (
        ("carved a heart into the trunk", "leaned on the trunk of the tree", "climbed the thick trunk"),
        ("packed clothes into the trunk", "locked the heavy trunk", "shut the trunk of the car"),
    ),
    "palm": (
        ("rested under a palm", "picked dates from the palm", "planted a palm on the beach"),
        ("hid a coin in the palm", "read the lines of the palm", "burned the palm of one hand"),
    ),
    "glass": (
        ("drank a glass of water", "filled the glass with milk", "raised a glass at dinner"),
        ("cut the glass for the window", "stepped on broken glass", "polished the glass of the door"),
    ),
    "crane": (
        ("saw a crane build a nest", "painted a crane with white wings", "fed the crane some seeds"),
        ("lifted the bricks with a crane", "drove the crane at the harbour", "fixed the engine of the crane"),
    ),
    "board": (
        ("sawed the board in half", "nailed a board to the wall", "carried a heavy board"),
        ("met the board of the company", "asked the board to vote", "joined the board as chief"),
    ),
    "pen": (
        ("signed with a blue pen", "dipped the pen in ink", "chewed on a plastic pen"),
        ("kept the sheep in a pen", "led the pigs to the pen", "built a pen for the goats"),
    ),
    "wave": (
        ("was hit by a big wave", "surfed on a wave", "watched a wave reach the shore"),
        ("greeted us with a wave", "gave a friendly wave", "left with a wave of the hand"),
    ),
}
"""Ambiguous words; contexts of either sense."""

GLOSSES = {
    "bank": ("shore", "money"),
    "bat": ("animal", "club"),
    "ring": ("jewel", "sound"),
    "seal": ("animal", "stamp"),
    "spring": ("season", "water"),
    "match": ("game", "fire"),
    "note": ("music", "paper"),
    "plant": ("leaf", "factory"),
    "letter": ("mail", "sign"),
    "trunk": ("tree", "case"),
    "palm": ("tree", "hand"),
    "glass": ("cup", "pane"),
    "crane": ("bird", "machine"),
    "board": ("wood", "people"),
    "pen": ("ink", "fence"),
    "wave": ("water", "greeting"),
}
"""What each of the two senses is about."""

CHAINS = (
    ("forgot the umbrella", "got wet in the rain", "caught a cold"),
    ("dropped the vase", "made a mess on the floor", "looked for a broom"),
    ("missed the alarm", "overslept", "was late for work"),
    ("skipped lunch", "was very hungry", "ate a huge dinner"),
    ("trained every day", "won the race", "got a medal"),
    ("touched the stove", "burned one finger", "needed a bandage"),
    ("lost the keys", "was locked out", "called a neighbour"),
    ("studied all night", "passed the exam", "had a party"),
    ("drove too fast", "was stopped by the police", "paid a fine"),
    ("planted seeds", "grew many tomatoes", "cooked tomato soup"),
    ("left the gate open", "lost the dog", "put up posters"),
    ("saved money for years", "bought a boat", "sailed to an island"),
    ("ate old fish", "felt sick", "went to the doctor"),
    ("told a lie", "lost a good friend", "felt lonely"),
    ("worked in the sun", "was thirsty", "drank a lot of water"),
    ("learned to sing", "joined a choir", "sang in the church"),
    ("ran on the ice", "slipped and fell", "limped home"),
    ("found a wallet", "took it to the police", "got a reward"),
    ("broke a tooth", "had a bad pain", "visited the dentist"),
    ("forgot to pay the bill", "had no light at home", "lit some candles"),
)
"""Three events in a row, each the cause of the next."""

BONDS = (
    ("thanked", "had been saved", "had helped"),
    ("helped", "was kind", "was in trouble"),
    ("envied", "had nothing", "had won"),
    ("punished", "was angry", "had lied"),
    ("called", "needed advice", "was an expert"),
    ("paid", "was in debt", "had done the work"),
    ("visited", "wanted company", "was in hospital"),
    ("followed", "was curious", "knew the way"),
    ("feared", "was a coward", "was dangerous"),
    ("hired", "needed staff", "wanted a job"),
    ("carried", "was strong", "was asleep"),
    ("asked", "wanted the answer", "was very wise"),
    ("trusted", "was naive", "was honest"),
    ("forgave", "was generous", "had said sorry"),
    ("taught", "was a teacher", "wanted to learn"),
    ("warned", "saw the danger", "was careless"),
)
"""A verb between two people, why the first would, and why the second would be the cause."""
