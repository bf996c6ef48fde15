#!/usr/bin/env python3
"""Write the training data of the demo model: tiny stories, as `bantam train` reads them.

Every sentence comes from the templates in this file, which were written for
this project, so the text carries no one else's licence. A story keeps one cast
from start to end, so names, pronouns and objects agree.

    python make_text.py --seed 7 --megabytes 8 --out data

The folder gets valid.jsonl with the first 200 stories, from which nothing is
learned, and train.jsonl with the others. Texts that begin with <|user|> are
short chats in the form that the chat template of the model renders; <s> and
</s> are put around each text when it is read. The same seed always gives the
same text.
"""

import argparse
import json
import os
import random
import re
import sys

HELD_OUT = 200  # stories that are only used to measure the loss

# ---------------------------------------------------------------- the cast

GIRLS = """Mara Lily Anna Nell Rosa Ivy Tess Ada June Clara Hana Zara Molly
Edith Nora Greta Sofia Maya""".split()
BOYS = """Tom Ben Sam Oskar Finn Leo Hugo Jonah Amir Theo Max Ned Will Arlo
Luca Emil Peter Ravi""".split()
PETS_SHE = """Clover Hazel Fern Willow Tansy Nutmeg Poppy Daisy Juniper
Olive Plum Pearl""".split()
PETS_HE = """Biscuit Pepper Moss Button Acorn Bramble Rusty Smudge Barley
Pebble Thistle Otto""".split()

ANIMALS = """fox goat duck cat dog mouse hedgehog owl rabbit donkey crow frog
squirrel goose otter badger mole pony pig beaver turtle robin sparrow
lamb""".split()
SMALL = "mouse hedgehog frog squirrel mole robin sparrow rabbit duck".split()
FARM = "goat donkey pony pig goose duck dog cat lamb".split()

GROWN = [  # who, she or he
    ("the miller", "he"), ("the baker", "she"), ("the farmer", "he"),
    ("the farmer", "she"), ("the shepherd", "he"), ("the shepherd", "she"),
    ("the carpenter", "she"), ("the ferryman", "he"), ("the teacher", "she"),
    ("the weaver", "she"), ("the potter", "he"), ("the smith", "he"),
    ("Grandmother", "she"), ("Grandfather", "he"), ("Mother", "she"),
    ("Father", "he"), ("Aunt Ruth", "she"), ("Uncle Joe", "he"),
]

LOOKS = """small young kind quiet clever brave cheerful gentle careful busy
sleepy shy""".split()
COATS = "brown grey white spotted small young old clever shy brave".split()


class Who:
    """A character. Templates reach its forms as {k.n}, {k.he}, {k.his} ..."""

    def __init__(self, rng, kind, she, name=None, look="", title=None):
        self._rng = rng
        self.kind = kind
        self._name = name
        self._title = title  # for grown-ups: "the miller", "Grandmother"
        self.he, self.him, self.his = (
            ("she", "her", "her") if she else ("he", "him", "his"))
        self.He, self.His = self.he.capitalize(), self.his.capitalize()
        self.self = "herself" if she else "himself"
        self.she = she
        self._look = look
        self._met = title is not None

    @property
    def intro(self):
        self._met = True
        noun = f"{self._look} {self.kind}".strip()
        if self._name:
            return f"a {noun} {self._rng.choice(['named', 'called'])} {self._name}"
        return f"a {noun}"

    @property
    def the(self):
        return self._title or f"the {self.kind}"

    @property
    def n(self):
        """The name, or "the goat" for an animal that has none."""
        return self._name or self.the

    @property
    def x(self):
        """Mostly the name, now and then "the girl" or "the goat"."""
        return self.the if self._rng.random() < 0.25 else self.n

    @property
    def new(self):
        """The introduction the first time, the name afterwards."""
        if self._met:
            return self.n
        # A child can walk into a story under a bare name.
        if self._name and self.kind in ("girl", "boy") and self._rng.random() < 0.6:
            self._met = True
            return self._name
        return self.intro

    @property
    def N(self):
        return cap(self.n)

    @property
    def X(self):
        return cap(self.x)

    @property
    def New(self):
        return cap(self.new)

    @property
    def The(self):
        return cap(self.the)


def cap(text):
    return text[:1].upper() + text[1:]


# ------------------------------------------------------- places and weather

HOMES = [
    "in a small house by the river", "on a farm at the foot of a hill",
    "near an old mill", "at the edge of a quiet forest",
    "in a village between two hills", "beside a wide green field",
    "on a little island in a lake", "in a cottage with a blue door",
    "behind the old stone wall", "near the sea",
    "on the sunny side of a mountain", "next to a pond full of reeds",
]
WILD_HOMES = [
    "under the roots of an oak tree", "in a hollow log near the stream",
    "beside a pond full of reeds", "at the edge of a quiet forest",
    "behind the old stone wall", "under a hedge at the end of a lane",
    "in the barn of a small farm", "in a corner of the garden",
    "on a farm at the foot of a hill", "near an old mill",
]
WEATHER = {
    "dry": [
        "It had not rained for [many days|weeks|a long time], and the grass was [yellow|brown and dry].",
        "The summer was [hot|long and hot], and the [road|path|field] was [dusty|full of dust].",
        "The sun [was hot|burned] all day, and there was not one cloud in the sky.",
    ],
    "wet": [
        "It was raining, and the [road|yard|lane|path] was full of [puddles|mud].",
        "It was raining [hard|softly|again], and [the wind shook the trees|water ran down the windows|everyone stayed inside].",
        "Dark clouds came over the hill, and soon it began to rain.",
        "It had rained all [night|week|day], and the [river|stream] was [high|brown and fast].",
    ],
    "wind": [
        "The wind was strong that day, and [leaves flew everywhere|the trees bent low|every door in the village banged].",
        "A [cold|wild|strong] wind blew [over the hill|across the fields|from the sea].",
        "It was a windy [day|morning|afternoon], and the clouds ran across the sky.",
    ],
    "cold": [
        "Snow fell [all night|softly on the roofs|for three days], and the world was [white|white and quiet].",
        "Winter came early that year, and the pond [froze|turned to ice].",
        "It was the coldest [night|day|morning] of the year, and [ice hung from the roof|frost covered the windows].",
    ],
    "fair": [
        "The sun was [warm|bright], and the [air smelled of grass|birds were singing|bees were busy in the flowers].",
        "It was a [bright|clear|warm|quiet] [morning|day|afternoon] in [spring|May|summer|early autumn].",
        "The sky was [blue|clear], and a [soft|light|gentle] wind moved the [grass|leaves].",
        "Spring had come, and [the fields were green again|the apple trees were full of flowers|the snow was gone].",
    ],
    "night": [
        "The moon was [round and bright|thin|hidden behind the clouds], and the [village|farm|forest] was quiet.",
        "It was late, and [all the lamps were out|the stars were bright|only the owls were awake].",
        "Night came [early|slowly], and one by one the stars came out.",
    ],
}


# ------------------------------------------------------------ a story maker

CHOICE = re.compile(r"\[([^\[\]]*)\]")
DAY = "[One|On a|Early one|Late one]"


class Story:
    def __init__(self, rng):
        self.rng = rng
        self.lines = []
        self.slots = {}
        self.used = set()
        self.topic = ""
        self.rooster = False

    # -- casting

    def _fresh(self, names):
        left = [n for n in names if n not in self.used]
        pick = self.rng.choice(left)
        self.used.add(pick)
        return pick

    def kid(self, she=None):
        she = self.rng.random() < 0.5 if she is None else she
        look = self.rng.choice(LOOKS) if self.rng.random() < 0.5 else ""
        return Who(self.rng, "girl" if she else "boy", she,
                   self._fresh(GIRLS if she else BOYS), look)

    def beast(self, kinds=ANIMALS, she=None, named=0.5):
        she = self.rng.random() < 0.5 if she is None else she
        kind = self._fresh(kinds)
        look = self.rng.choice(COATS) if self.rng.random() < 0.6 else ""
        name = None
        if self.rng.random() < named:
            name = self._fresh(PETS_SHE if she else PETS_HE)
        return Who(self.rng, kind, she, name, look)

    def bantam(self):
        """The small rooster who walks through many of the stories."""
        self.rooster = True
        return Who(self.rng, "rooster", False, "Bantam",
                   self.rng.choice(["little", "little", "small", "tiny"]))

    def grown(self, she=None):
        pool = [g for g in GROWN if she is None or (g[1] == "she") == she]
        title, he = self.rng.choice(pool)
        return Who(self.rng, title, he == "she", None, "", title)

    def anyone(self, she=None):
        return self.kid(she) if self.rng.random() < 0.5 else self.beast(she=she)

    # -- writing

    def pick(self, *options):
        return self.rng.choice(options)

    def chance(self, p):
        return self.rng.random() < p

    def let(self, **slots):
        self.slots.update(slots)

    def expand(self, text):
        while True:  # innermost [a|b|c] first, so choices may nest
            found = CHOICE.search(text)
            if not found:
                break
            chosen = self.rng.choice(found.group(1).split("|"))
            text = text[:found.start()] + chosen + text[found.end():]
        text = text.format(**self.slots)
        text = re.sub(r" +", " ", text).strip()
        text = re.sub(r" ([,.!?])", r"\1", text)
        text = re.sub(r"\b([Aa]) (?=[aeiou](?!ne |se))", r"\1n ", text)
        text = re.sub(r"([.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)
        return cap(text)

    def say(self, *options):
        """Add one of the given sentences (or short runs of sentences)."""
        self.lines.append(self.expand(self.rng.choice(options)))

    def maybe(self, p, *options):
        if self.chance(p):
            self.say(*options)

    def open(self, who, weather="fair"):
        """Zero to two sentences that set the scene and present the hero."""
        self.slots["hero"] = who
        home = self.pick(*(HOMES if who.kind in ("girl", "boy") else WILD_HOMES))
        self.slots["home"] = home
        shape = self.rng.random()
        if shape < 0.55 and not who._met:
            self.say(
                "Once upon a time, there was {hero.intro}.",
                "Once upon a time, {hero.intro} lived {home}.",
                "Once upon a time, there was {hero.intro} who lived {home}.",
                "Once upon a time, {home}, there lived {hero.intro}.",
                "There was once {hero.intro} who lived {home}.",
                "{hero.New} lived {home}.",
                "Long ago, {hero.intro} lived {home}.",
            )
            if who._name == "Bantam" and self.chance(0.6):
                self.lines.pop()
                self.say(
                    "The little rooster named Bantam lived {home}.",
                    "The little rooster was called Bantam, and he lived {home}.",
                    "Bantam was the smallest rooster [on the farm|in the village|in the whole valley], but [his voice was big|he was not afraid|he had a brave heart].",
                    "Once upon a time, there was a little rooster named Bantam.",
                )
            if self.chance(0.3):
                self.say(*WEATHER[weather])
        elif shape < 0.85:
            self.say(*WEATHER[weather])

    def close(self, *options):
        """An ending, most of the time; sometimes the rooster has the last word."""
        if len(self.lines) >= 7:
            return
        if options and self.chance(0.6):
            self.say(*options)
        if not self.rooster and len(self.lines) < 7 and self.chance(0.13):
            self.rooster = True
            self.say(
                "[On|From] the [fence|roof|wall|gate], Bantam the little rooster crowed [once|twice|three times], as if he had known it all along.",
                "Even Bantam, the smallest rooster in the village, [crowed for joy|flapped his wings|looked pleased].",
                "The little rooster on the [gate|wall|roof] [crowed|shook his feathers|nodded his head], and the day was done.",
                "Bantam the rooster had watched it all, and he told the hens about it [that night|the next morning|for a week].",
            )


# --------------------------------------------------------------- the stories
#
# Each function tells one kind of story. {k} is the hero, {f} a friend or
# helper, {g} a grown-up. The friend is of the other sex than the hero, so that
# "he" and "she" are never in doubt.

def dry_well(s):
    k = s.kid(); f = s.beast(FARM, she=not k.she); g = s.grown(she=not k.she)
    s.let(k=k, f=f, g=g, v=s.pick("bucket", "jug", "pail"),
          r=s.pick("river", "stream", "lake", "spring on the hill"))
    s.topic = s.pick("a dry well", f"a {k.kind} and a {s.slots['v']}")
    s.open(k, "dry")
    s.say("The well was dry, so {k.new} took a {v} and walked to the {r}.",
          "{k.New} let the {v} down into the well, but it came up empty.",
          "When {k.new} looked into the well, there was only [mud|sand|dust] at the bottom.")
    s.say("The way was long, and the [full|heavy] {v} hurt {k.his} hands.",
          "At the {r} {k.he} filled the {v} to the top and started for home.",
          "{k.He} walked to the {r}, filled the {v}, and [drank a little|washed {k.his} face].")
    s.say("On the way home {k.he} met {f.intro} who was [very thirsty|lying in the shade|too tired to walk].",
          "By the road lay {f.intro}, [thirsty and tired|with a dry mouth].")
    s.say("{k.X} gave {f.him} half of the water, because {f.he} needed it too.",
          "\"[Drink|Please drink],\" said {k.n}, \"there is enough for [two|both of us].\"",
          "{k.X} put the {v} down and let {f.him} drink.")
    s.say("[After that|Then] {f.x} carried the {v} all the way home on {f.his} back." if f.kind in ("donkey", "pony") else
          "[After that|Then] {f.x} followed {k.him} home and [never left|stayed with {k.him}].",
          "That night [clouds came over the hill and|] it rained, and in the morning the well was full.",
          "When {g.n} heard about it, {g.he} [smiled|was proud] and said, \"You did [well|the right thing].\"")
    s.close("From that day on, {k.n} and {f.n} went to the {r} together.",
            "{k.N} was tired, but {k.he} was happy.")


LOST = [("key", "under the mat", "door"), ("red scarf", "on a branch", ""),
        ("button", "in the grass", ""), ("silver bell", "in the straw", ""),
        ("ball", "under the hedge", ""), ("wooden spoon", "behind the stove", ""),
        ("blue hat", "in the hay", ""), ("little book", "under the bed", ""),
        ("ring", "in the flour", ""), ("whistle", "in an old boot", ""),
        ("hammer", "behind the barn", ""), ("lantern", "in the cellar", "")]


def lost_thing(s):
    k = s.kid(); f = s.beast(she=not k.she)
    thing, where, _ = s.pick(*LOST)
    s.let(k=k, f=f, t=thing, w=where, p1=s.pick("in the kitchen", "in the barn", "in the garden"),
          p2=s.pick("under the table", "by the pond", "along the road", "behind the door"))
    s.topic = s.pick(f"a lost {thing}", f"a {k.kind} who lost a {thing}")
    s.open(k)
    s.say("[One day|One morning|One evening], {k.new} could not find {k.his} {t}.",
          "{k.New} had a {t} that {k.he} loved, but [one day|one morning] it was gone.",
          "[One day|After supper|Before school], {k.new} put {k.his} hand in {k.his} pocket, and it was empty. The {t} was gone!" if thing in ("key", "button", "ring", "whistle") else
          "\"Where is my {t}?\" asked {k.new}.")
    s.say("{k.He} looked {p1} and {p2}, but it was not there.",
          "First {k.he} looked {p1}. Then {k.he} looked {p2}. It was nowhere.",
          "{k.He} searched {p1} [for an hour|until noon], but {k.he} found only [dust|an old sock|a spider].")
    s.say("Then {f.intro} came [by|along|in] and [asked what was wrong|saw that {k.he} was sad].",
          "{f.New} heard {k.him} [sigh|cry] and came to help.")
    s.say("\"When did you have it last?\" asked {f.n}. {k.N} [thought|sat down and thought] about it [for a while|carefully|].",
          "\"Do not worry,\" said {f.n}. \"[I have good eyes|I know how to look|We will look together].\"",
          "\"Let us walk back the way you came,\" said {f.n}.")
    s.say("They found the {t} {w}, [just where {k.he} had left it|where it had fallen|safe and dry].",
          "And there, {w}, was the {t}!",
          "It was {f.n} who found the {t}. It was {w}.")
    s.close("\"Thank you,\" said {k.n}, and {k.he} [shared {k.his} lunch with {f.him}|gave {f.him} an apple].",
            "After that, {k.n} always put {k.his} {t} in the same place.",
            "{k.N} laughed, because {k.he} had walked past it [twice|three times|all day].")


def leaky_home(s):
    k = s.beast(SMALL); f = s.beast(["beaver", "badger", "otter", "crow", "goose", "squirrel"], she=not k.she)
    s.let(k=k, f=f, h=s.pick("house", "nest", "den", "little home"),
          m=s.pick("bark", "straw", "moss", "leaves", "reeds", "clay"))
    s.topic = s.pick(f"a {k.kind} in the rain", f"a {k.kind} and a {f.kind}")
    s.open(k, "wet")
    s.say("Rain came through the roof, and {k.new} [woke up with wet feet|could not sleep|had no dry place to sit].",
          "The {h} of {k.new} had a hole in the roof, so the rain came in.",
          "{k.New} put a [cup|bowl|pot] under the hole in the roof, but it was soon full.")
    s.say("\"I need help,\" {k.he} said, and {k.he} ran to {f.intro}.",
          "{f.New} lived close by and saw the trouble.",
          "{k.He} knocked at the door of {f.intro}.")
    s.say("\"Come in and get warm,\" said {f.n}. \"[Tomorrow|In the morning] we will fix the roof.\"",
          "\"A roof is only [sticks|bits of wood] and {m},\" said {f.n}. \"We can mend it.\"",
          "{f.X} brought [some|plenty of] {m} and showed {k.him} how to [close the hole|press it down].")
    s.say("They worked [all morning|until dark|side by side], and at last the hole was closed.",
          "{k.X} carried the {m} and {f.n} put it in place.",
          "It took a long time, but nobody [stopped|complained].")
    s.say("When the rain came again, the {h} [was dry|stayed dry] and warm.",
          "That night the rain [drummed|fell] on the new roof, but not one drop came in.")
    s.close("{k.N} made [soup|tea|nut cakes] for {f.n}, and they listened to the rain together.",
            "\"A good friend is better than a good roof,\" said {k.n}.")


BROKEN = [("the wheel of the cart", "a hammer and a new pin", "rolled"),
          ("the garden gate", "a screw and some oil", "swung"),
          ("the handle of the pump", "a strong piece of rope", "worked"),
          ("the leg of the table", "some glue and a nail", "stood"),
          ("the old ladder", "a saw and a straight branch", "held"),
          ("the water wheel", "a long plank and six nails", "turned"),
          ("the door of the hen house", "two nails and a hammer", "closed"),
          ("the little sled", "a piece of wire", "slid")]


def broken_tool(s):
    k = s.kid(); g = s.grown(she=not k.she)
    thing, tools, verb = s.pick(*BROKEN)
    s.let(k=k, g=g, t=thing, tools=tools, v=verb)
    s.topic = s.pick("a broken " + thing.split()[-1], f"a {k.kind} who could mend things")
    s.open(k)
    s.say("[One morning|One day], {t} broke, and {g.n} was [upset|worried].",
          "{k.New} heard a loud crack. {t} was broken!".replace("{t}", cap(thing)),
          "\"Oh no,\" said {g.n}. \"{T} is broken, and I have work to do.\"".replace("{T}", cap(thing)))
    s.say("\"May I try to fix it?\" asked {k.new}.",
          "{k.New} looked at it for a long time and [saw what was wrong|had an idea].",
          "{g.N} wanted to buy a new one, but {k.new} said, \"Wait. I think I can mend it.\"")
    s.say("{k.He} went to the [shed|barn|workshop] and came back with {tools}.",
          "{k.He} needed {tools}, so {k.he} asked the [smith|carpenter|neighbor] for help." if g.the not in ("the smith", "the carpenter") else
          "{g.N} found {tools}, and {k.n} set to work.")
    s.say("The first try [was no good|did not work], because [{k.he} was in a hurry|the wood was wet]. The second try was better.",
          "{k.He} worked slowly and [measured everything twice|did not rush|hummed a song].",
          "{k.He} hit {k.his} thumb [once|twice], but {k.he} did not give up.")
    s.say("[By noon|By evening|At last] it {v} [as well as before|better than before|like new].",
          "Then {k.he} stepped back. It {v} [like new|well|without a sound].")
    s.close("\"You have good hands,\" said {g.n}, and {k.n} [smiled|was proud].",
            "From then on, people brought their broken things to {k.n}.",
            "{g.N} gave {k.him} a small [hammer|knife|box of tools] of {k.his} own.")


def rooster_fox(s):
    b = s.bantam()
    s.let(b=b, hour=s.pick("before the sun was up", "in the middle of the night", "just before dawn"),
          thief=s.pick("fox", "weasel"))
    s.topic = s.pick("a little rooster", f"a rooster and a {s.slots['thief']}", "a brave little rooster")
    s.open(b, "night")
    s.say("The [big|old|other] roosters laughed at {b.new}, because he was no bigger than a [boot|jug|turnip].",
          "{b.New} was small, but he had the loudest voice on the farm.",
          "Nobody [thought much of|listened to] {b.new}, because he was so small.")
    s.say("One night, {hour}, a {thief} crept [under|through] the fence.",
          "One night a hungry {thief} came to the hen house and scratched at the door.",
          "{hour}, he heard soft steps in the [straw|grass|snow]. It was a {thief}.")
    s.say("The hens were asleep, and the dog was far away.",
          "The big roosters hid their heads under their wings.",
          "All the hens shook with fear, and nobody dared to move.")
    s.say("Bantam [jumped|flew] up on the [fence|roof|bucket] and crowed as loudly as he could.",
          "\"Wake up! Wake up!\" crowed the little rooster, and [lamps were lit in the house|the dog began to bark].",
          "The little rooster [stood up tall|took a deep breath] and crowed until the whole farm was awake.")
    s.say("The {thief} ran away [into the dark|over the hill] and never came back.",
          "The farmer came out with a lantern, and the {thief} ran [for the forest|away as fast as it could].")
    s.close("After that, no one said that Bantam was too small.",
            "\"You may be little,\" said the oldest hen, \"but your heart is big.\"",
            "In the morning, everyone [thanked|cheered for] the little rooster, and he [ate corn from the farmer's hand|got the best place on the roost].")


def rooster_fog(s):
    b = s.bantam(); k = s.kid()
    s.let(b=b, k=k, o=s.pick("boat", "cart", "sled"))
    s.let(ground={"boat": "lake", "cart": "moor", "sled": "white field"}[s.slots["o"]])
    s.topic = s.pick("a little rooster in the fog", f"a {k.kind} lost in the fog")
    s.open(s.pick(b, k), "fair")
    s.say("[One evening|One morning] a thick fog came down, and {k.new} could not see {k.his} own hands.",
          "{k.New} was [far out|alone] with the {o} on the {ground} when the fog came.")
    s.say("{k.He} turned the {o} left, and then right, and soon {k.he} was lost.",
          "\"Which way is home?\" {k.he} asked, but no one answered.",
          "{k.He} called out, but the fog [swallowed|ate] every word.")
    s.say("At home, the little rooster [saw that {k.n} was late|waited on the gate|looked out into the grey].",
          "On the shore, the rooster Bantam [heard a faint voice|began to worry]." if s.slots["o"] == "boat" else
          "On the farm, the rooster Bantam [heard a faint voice|began to worry].")
    s.say("He crowed, and crowed again, and did not stop.",
          "He flew to the top of the [tower|roof|tallest tree] and crowed with all his might.")
    s.say("{k.N} heard him and turned the {o} toward the sound.",
          "\"That is our rooster!\" cried {k.n}, and {k.he} followed the sound [all the way|step by step] home.")
    s.close("That night the little rooster [slept by the stove|had a bowl of corn], and his voice was gone for [a day|two days].",
            "Since that day, whenever there is fog, the little rooster crows.",
            "{k.N} [hugged|thanked] him and said, \"You are better than any lamp.\"")


def rooster_sun(s):
    b = s.bantam(); f = s.beast(FARM, she=True)
    s.let(b=b, f=f)
    s.topic = s.pick("a little rooster and the sun", "a rooster who slept too long", f"a rooster and a {f.kind}")
    s.open(b)
    s.say("Bantam thought that the sun came up because he crowed.",
          "Every morning {b.new} crowed, and every morning the sun came up.",
          "The little rooster was proud, because [he woke the sun each day|he thought the sun obeyed him].")
    s.say("One day he [caught a cold|lost his voice|slept too long], and he could not crow.",
          "One night he stayed up late to [count the stars|talk with the owl], and in the morning he did not wake up.")
    s.say("\"Now it will be dark forever,\" he [thought|cried].",
          "\"What will happen to the sun?\" he [asked|whispered] sadly.")
    s.say("But the sun came up all the same, [round and warm|red and gold|as bright as ever].",
          "But [slowly|soon] the sky turned pink, and the sun rose without him.")
    s.say("{f.New} laughed and said, \"The sun does not need you, but we do. [I was late for breakfast|Nobody woke up on time]!\"",
          "\"Do not be sad,\" said {f.intro}. \"You do not wake the sun. You wake us.\"")
    s.close("So the little rooster [drank some warm tea|rested his voice], and the next day he crowed for his friends.",
            "From that day on, he crowed a little more softly and with a happier heart.",
            "The little rooster thought about this, and it was [enough|better than before].")


def rooster_small_work(s):
    b = s.bantam(); f = s.beast(["donkey", "pony", "goose", "goat", "pig"], she=True)
    s.let(b=b, f=f, t=s.pick("a golden button", "the farmer's ring", "a lost key", "a tiny seed", "a bright coin"),
          gap=s.pick("crack in the wall", "hole under the barn", "gap between two stones", "pipe behind the mill"))
    s.topic = s.pick("a little rooster who helped", "a very small rooster", f"a {f.kind} and a little rooster")
    s.open(b)
    s.say("{f.New} was big and strong, and {f.he} [often teased|liked to tease] the little rooster.",
          "\"What can you do? You are so small,\" said {f.intro} to the little rooster.")
    s.say("[One day|One morning] {t} fell into a {gap}.",
          "Then, [one day|one afternoon], {t} rolled into a {gap}, and nobody could reach it.")
    s.say("{f.N} pushed {f.his} nose in, but {f.his} head was too big.",
          "{f.N} tried and tried, but {f.he} could not get in.",
          "The farmer tried with a stick, and {f.n} tried with {f.his} [nose|foot], but it was too deep.")
    s.say("The little rooster [walked|slipped] right in and came out with it in his beak.",
          "\"Let me try,\" said Bantam. He was so small that he [fit through easily|went in without bending his head].")
    s.say("\"I was wrong,\" said {f.n}. \"Small is [good|useful] too.\"",
          "{f.N} was [quiet for a while|ashamed]. Then {f.he} said, \"Thank you, my friend.\"")
    s.close("The rooster [bowed|laughed], and they were friends from then on.",
            "Nobody teased the little rooster after that.",
            "\"Small things fit where big things cannot,\" said Bantam.")


OBST = [("the bridge was broken", "a long plank", "laid it across the water", "water"),
        ("a tree lay across the road", "a saw", "cut a way through", "tree"),
        ("the road was deep in mud", "some flat stones", "laid them down one by one", "mud"),
        ("the river was too high to cross", "an old boat", "rowed to the other side", "river"),
        ("snow covered the path", "two wide boards", "tied them to {k.his} feet", "snow"),
        ("the path went into a dark cave", "a lantern", "held it up high", "cave"),
        ("a gate was shut and locked", "a rusty key", "turned it slowly", "gate")]


def journey(s):
    k = s.anyone(); f = s.beast(she=not k.she)
    obst, tool, did, word = s.pick(*OBST)
    goal = s.pick("the market", "the sea", "the town", "the top of the hill", "the next valley", "the old castle", "the mill")
    s.let(k=k, f=f, obst=obst, tool=tool, goal=goal, why=s.pick(
        "to visit {0} aunt", "to see the world", "to sell a basket of eggs", "to buy salt",
        "to bring a letter to a friend", "to look for work", "to hear the music at the fair").format(k.his))
    s.let(did=did.format(k=k))
    s.topic = s.pick(f"a journey to {goal}", f"a {k.kind} on a long journey", f"a {k.kind} and a {f.kind}")
    s.open(k)
    s.say("[One morning|One day|Early in the morning], {k.new} set out for {goal} {why}.",
          "{k.New} packed [some bread and cheese|an apple and a blanket|a small bag] and set off for {goal} {why}.",
          "{k.New} wanted to go to {goal} {why}, so {k.he} left before sunrise.")
    s.say("[Halfway there|After an hour|After two hours|At noon] {k.he} had to stop, because {obst}.",
          "The way was easy at first. But then {k.he} came to a place where {obst}.",
          "All went well until {k.he} saw that {obst}.")
    s.say("{f.New} was sitting there and said, \"[I cannot get past, either|I have waited here all day|You are not the first to stop here].\"",
          "\"What shall we do?\" asked {f.intro} who [was going the same way|had to stop there, too].",
          "{k.He} met {f.intro} there, and they [thought about it together|sat down to think].")
    s.say("Then {k.n} found {tool} [near the road|behind a bush|in the grass] and {did}.",
          "\"I saw {tool} back there,\" said {f.n}. So {k.n} went to get it and {did}."
          if tool not in ("some flat stones", "two wide boards") else
          "\"I saw {tool} back there,\" said {f.n}. So {k.n} went to get them and {did}.")
    s.say("[It worked|That did it], and they went on together.",
          "Soon they were on their way again, [singing|talking and laughing].",
          "It was [slow|hard], but they got through.")
    s.close("When the sun went down, they came to {goal}.",
            "They reached {goal} [that evening|before dark|the next day], tired and [happy|hungry].",
            "\"A road is shorter with a friend,\" said {f.n}.")


FOODS = ["a piece of bread", "a red apple", "a bowl of soup", "a honey cake", "some cheese",
         "a warm pie", "a handful of nuts", "a basket of berries", "a pear", "a bun"]


def sharing(s):
    k = s.anyone(); f = s.beast(she=not k.she)
    food = s.pick(*FOODS)
    gift = s.pick("a patch of sweet berries", "a tree full of ripe plums", "a spring of clear water",
                  "a field of wild strawberries", "a hidden path through the woods", "a quiet pool full of fish")
    s.let(k=k, f=f, food=food, gift=gift, place=s.pick("under a tree", "on a flat stone", "by the stream", "on the steps", "at the side of the road"))
    s.topic = s.pick(f"a {k.kind} and a hungry {f.kind}", "sharing food", f"a {k.kind} with {food}")
    s.open(k)
    s.say("{k.New} sat {place} with {food}.",
          "At noon {k.new} [sat down|rested] {place} to eat {food}.",
          "{k.New} had only {food} for {k.his} [lunch|supper].")
    s.say("Then {f.intro} came [out of the bushes|along the path|slowly closer] and looked at {k.him} with [hungry|big|sad] eyes.",
          "{f.New} stopped in front of {k.him}. {f.He} was [thin|cold and hungry|so hungry that {f.his} stomach growled].")
    s.say("\"I have not eaten [since yesterday|for two days|all day],\" said {f.n}.",
          "\"Are you hungry?\" asked {k.n}. {f.N} nodded.",
          "{k.N} was hungry, too, but {k.he} could not eat alone.")
    s.say("So {k.n} gave {f.him} half, and they ate together.",
          "{k.N} [cut|broke|split] the food in two and gave {f.him} the bigger part." if "soup" not in food else
          "{k.N} pushed the bowl to the middle, and they ate from it together.")
    s.say("\"You were kind to me,\" said {f.n}. \"Come, I will show you something.\" And {f.he} led {k.him} to {gift}.",
          "The next day, {f.n} came back and showed {k.him} {gift}.",
          "To thank {k.him}, {f.n} showed {k.him} the way to {gift}.")
    s.close("Half a meal had become [a feast|a friendship].",
            "{k.N} was glad that {k.he} had shared.",
            "After that, they ate together every [day|week].")


CROPS = [("pumpkin", "pumpkins"), ("bean", "beans"), ("carrot", "carrots"), ("pea", "peas"),
         ("sunflower", "sunflowers"), ("cabbage", "cabbages"), ("turnip", "turnips"), ("onion", "onions")]


def garden(s):
    k = s.kid(); g = s.grown(she=not k.she)
    one, many = s.pick(*CROPS)
    pest = s.pick("crows", "rabbits", "snails", "mice", "goats")
    s.let(k=k, g=g, one=one, many=many, pest=pest,
          fix=s.pick("a scarecrow out of old clothes", "a small fence out of sticks", "a rattle out of tin cans")
          if pest != "snails" else s.pick("a ring of sand around the bed", "a border of rough stones"))
    s.topic = s.pick(f"a {k.kind} and a garden", f"{many} in the garden", "a garden")
    s.open(k)
    s.say("[In spring|In April|When the snow was gone], {k.new} planted {many} in the garden.",
          "{g.N} gave {k.new} a handful of {one} seeds, and {k.he} planted them in a row.")
    s.say("Every [day|morning|evening] {k.he} watered them, and soon small green leaves came up.",
          "For a long time nothing happened, but {k.n} [waited|kept watering].",
          "{k.He} pulled the weeds and talked to the [little|young] plants.")
    s.say("But one [morning|day] {k.he} saw that the {pest} had eaten [half of|some of|many of] the leaves.",
          "Then the {pest} came and [nibbled at|ate] the young leaves.")
    s.say("{k.X} was [angry|sad] at first. Then {k.he} made {fix}.",
          "\"What can I do?\" {k.he} asked. {g.N} thought and said, \"Let us make {fix}.\" So they did.",
          "So {k.he} made {fix}, and the {pest} stayed away.")
    s.say("[In autumn|At the end of summer] there were so many {many} that {k.he} gave [some|a basket] to every neighbor.",
          "When autumn came, {k.he} had the biggest {many} in the village.",
          "At harvest time {k.n} [filled six baskets|filled the whole cart] with {many}.")
    s.close("{g.N} made [a big pot of soup|a fine supper], and everyone had enough." if one != "sunflower" else
            "{g.N} put one in a jug on the table, and the kitchen was bright.",
            "And {k.he} left a few for the {pest}, because they were hungry, too.",
            "\"A garden grows slowly,\" said {g.n}, \"but it does grow.\"")


def winter_guest(s):
    k = s.kid(); f = s.beast(SMALL + ["cat", "dog", "fox", "owl", "lamb"], she=not k.she)
    s.let(k=k, f=f, milk=s.pick("warm milk", "a little soup", "some bread", "a handful of seeds"),
          bed=s.pick("a box with straw", "an old wool hat", "a basket by the stove", "a soft blanket"))
    s.topic = s.pick(f"a {f.kind} in the snow", "a cold winter night", f"a {k.kind} and a {f.kind} in winter")
    s.open(k, "cold")
    s.say("[That evening|At night|Late that day], {k.new} heard a [soft|small|weak] sound at the door.",
          "{k.New} was on the way home when {k.he} saw something [small|dark] in the snow.",
          "{k.New} opened the door to get firewood, and there was something in the snow.")
    s.say("It was {f.intro}, and {f.he} was so cold that {f.he} could not [move|speak|stand].",
          "It was {f.intro}. {f.His} feet were like ice, and {f.he} was shaking.")
    s.say("{k.X} carried {f.him} inside and put {f.him} in {bed}.",
          "\"Come in, come in,\" said {k.n}, and {k.he} made {bed} ready by the fire." if "stove" not in s.slots["bed"] else
          "\"Come in, come in,\" said {k.n}, and {k.he} put {f.him} in {bed}.")
    s.say("{k.He} gave {f.him} {milk} and [sat with {f.him} until morning|waited|sang softly].",
          "{f.He} ate {milk}, and then {f.he} slept [for a whole day|until noon|all night long].")
    s.say("When the snow melted, {f.n} went back to the [forest|fields]. But {f.he} often came to visit." if f.kind not in ("cat", "dog", "lamb", "duck") else
          "By spring, {f.n} was strong again, and {f.he} never wanted to leave.",
          "In the morning {f.n} was well again and [danced around the room|jumped onto the bed].",
          "All winter {f.n} stayed in the warm house, and {k.n} was never lonely.")
    s.close("The winter was long, but the two of them were warm.",
            "\"My house is small,\" said {k.n}, \"but there is room for you.\"")


STUCK = [("in the mud", "a rope", "pulled"), ("on the roof", "a ladder", "climbed up and carried {f.him} down"),
         ("in the fence", "a saw", "cut one board"), ("in a deep hole", "a plank", "pushed it down for {f.him} to walk on"),
         ("on a small island in the river", "an old boat", "rowed over"), ("in a thorn bush", "a pair of shears", "cut the thorns away"),
         ("at the bottom of an empty well", "a bucket on a rope", "let it down and pulled")]


def stuck(s):
    k = s.kid(); f = s.beast(["goat", "lamb", "cat", "dog", "pig", "goose", "fox", "rabbit"], she=not k.she)
    where, tool, did = s.pick(*STUCK)
    s.let(k=k, f=f, where=where, tool=tool)
    s.let(did=did.format(f=f))
    s.topic = s.pick(f"a {f.kind} stuck {where}", f"a {k.kind} who helped a {f.kind}")
    s.open(k, s.pick("fair", "wet"))
    s.say("[On the way home|In the afternoon|On the way to school], {k.new} heard [a cry|a loud cry|someone call for help].",
          "[One day|One afternoon], {k.new} heard a strange noise [behind the barn|near the mill|not far from the road].")
    s.say("{f.New} was stuck {where}.",
          "It was {f.intro}, and {f.he} was stuck {where}.",
          "There was {f.intro}, stuck {where}, and {f.he} could not get [out|free]." if not where.startswith("on ") else
          "There was {f.intro}, stuck {where}, and {f.he} did not dare to move.")
    s.say("\"How did you get there?\" asked {k.n}. \"I [wanted to see the world|was looking for food|was chasing a butterfly|do not know],\" said {f.n}.",
          "\"[Stay still|Do not be afraid],\" said {k.n}. \"I will be right back.\"",
          "{k.X} tried to [help|reach {f.him}] with {k.his} hands, but {k.he} could not do it alone.")
    s.say("{k.He} ran [home|to the farm|to the shed], came back with {tool}, and {did}.",
          "So {k.he} got {tool} [from the barn|from a neighbor] and {did}.")
    s.say("[At last|After a while|Little by little] {f.n} was free.",
          "One, two, three, and {f.n} was free!",
          "It took [a long time|all {k.his} strength], but in the end {f.he} was safe.")
    s.close("{f.N} was dirty and tired, but {f.he} [licked {k.his} hand|was not hurt].",
            "\"Next time I will look first,\" said {f.n}.",
            "After that, {f.n} followed {k.n} everywhere.")


NOISES = [("a scratching sound", "a hedgehog looking for worms"), ("a strange howl", "the wind in the old chimney"),
          ("a soft tapping", "a branch at the window"), ("slow footsteps", "the old donkey walking in his sleep"),
          ("a low hoot", "an owl with three chicks"), ("a loud snore", "the cat asleep in a drum"),
          ("a rattling noise", "a mouse with its head in a cup"), ("a splash", "a frog in the rain barrel")]


def noise(s):
    k = s.kid(); f = s.kid(she=not k.she)
    a, b = s.pick(*NOISES)
    s.let(k=k, f=f, a=a, b=b, where=s.pick("in the attic", "in the barn", "behind the house", "near the window", "by the old shed"),
          rel="sister" if f.she else "brother")
    s.topic = s.pick("a noise in the night", f"a {k.kind} who was afraid of the dark", "something in the dark")
    s.open(k, "night")
    s.say("[That night|In the night|At midnight], {k.new} heard {a} {where}.",
          "{k.New} could not sleep, because there was {a} {where}.")
    s.say("{k.He} pulled the blanket over {k.his} head and [held {k.his} breath|counted to ten].",
          "{k.His} heart beat fast, and {k.his} hands were cold.",
          "\"Is it a monster?\" {k.he} whispered.")
    s.say("{k.He} woke {k.his} {rel} {f.n}, and they lit a [candle|lamp|lantern].",
          "\"Come with me,\" {k.he} said to {k.his} {rel} {f.n}, and they took a [lamp|lantern].")
    s.say("Step by step they went [closer|nearer], and [the floor creaked|their shadows danced on the wall].",
          "{f.N} went first, and {k.n} held on to {f.his} sleeve.")
    s.say("And what did they see? It was only {b}!", "They lifted the light, and there it was: {b}.",
          "But it was no monster. It was {b}.")
    s.close("They [laughed|laughed so much] that they woke the whole house.",
            "{k.N} went back to bed and slept [well|until morning].",
            "After that, {k.n} was not so afraid of the dark.")


BAKES = [("a cake", "sugar", "honey"), ("bread", "yeast", "sour milk"), ("a pie", "apples", "pears"),
         ("pancakes", "butter", "cream"), ("cookies", "nuts", "dried plums"), ("soup", "carrots", "pumpkin"), ("jam", "cherries", "blackberries")]


def baking(s):
    k = s.anyone(); f = s.beast(she=not k.she)
    cake, lack, inst = s.pick(*BAKES)
    s.let(k=k, f=f, cake=cake, lack=lack, inst=inst, day=s.pick("the birthday of a friend", "the harvest feast", "the first day of spring", "a rainy Sunday"))
    s.topic = s.pick(cake if cake != "bread" else "baking bread", f"a {k.kind} who made {cake}")
    s.open(k)
    s.say("{k.New} wanted to make {cake} for {day}.",
          "It was {day}, and {k.new} wanted to make {cake}.")
    s.say("{k.He} lit the stove and looked on the shelf, but there was no {lack}." if lack not in ("apples", "nuts", "carrots", "cherries") else
          "{k.He} lit the stove and looked on the shelf, but there were no {lack}.",
          "{k.He} had everything but the {lack}. There was nothing left.")
    s.say("\"I have no {lack},\" {k.he} said [sadly|with a sigh] to {k.his} friend, {f.intro}.",
          "{k.He} went to {k.his} friend, {f.intro}, and asked for some.")
    s.say("\"I do not have {lack}, but I have {inst},\" said {f.n}. \"Try that.\"",
          "{f.N} had no {lack}, either. \"Take {inst},\" said {f.n}. \"[It may be even better|It cannot hurt].\"")
    s.say("So {k.n} [stirred in|used] the {inst}, and soon the whole house smelled [sweet|good|wonderful].",
          "{k.N} mixed, stirred and tasted. It was [good|very good|better than ever]!")
    s.close("They ate it all, and nobody missed the {lack}.",
            "Friends came from all sides, because of the [good|wonderful] smell.",
            "\"Next time I will use {inst} again,\" said {k.n}.")


def race(s):
    k = s.beast(["turtle", "mole", "hedgehog", "duck", "frog", "pig", "donkey"])
    f = s.beast(["fox", "rabbit", "pony", "dog", "squirrel", "cat"], she=not k.she)
    s.let(k=k, f=f, goal=s.pick("the old oak", "the bridge", "the mill", "the big stone", "the end of the lane"),
          stop=s.pick("stopped to sleep in the shade", "stopped to eat berries", "stopped to look at {0} face in the pond".format(f.his),
                      "ran the wrong way", "stopped to boast to the crows"))
    s.topic = s.pick("a race", f"a race between a {k.kind} and a {f.kind}", f"a slow {k.kind}")
    s.open(k)
    s.say("{f.New} laughed at {k.new}. \"You are the slowest animal I know,\" {f.he} said.",
          "{f.New} said to {k.new}, \"I am the fastest of all. Nobody can beat me.\"")
    s.say("\"Then let us race to {goal},\" said {k.n}.", "\"We will see,\" said {k.n}. \"Let us run to {goal}.\"")
    s.say("{f.N} ran off like the wind and was soon out of sight.", "At the word go, {f.n} was gone in a cloud of dust.")
    s.say("But {f.he} was so sure of {f.self} that {f.he} {stop}.", "Halfway there {f.n} {stop}, because {f.he} thought there was plenty of time.")
    s.say("{k.N} did not stop. Step by step {k.he} went on, and {k.he} came to {goal} first.",
          "{k.N} kept going, slowly and [steadily|quietly]. When {f.n} came at last, {k.n} was [already there|waiting at {goal}].")
    s.close("\"Fast feet are good,\" said {k.n}, \"but a steady heart is better.\"",
            "{f.N} said sorry, and the two became friends.",
            "{f.N} never laughed at {k.n} again.")


def boat(s):
    k = s.kid(); f = s.anyone(she=not k.she)
    s.let(k=k, f=f, sail=s.pick("a shirt", "a blanket", "a bed sheet", "an old coat"),
          water=s.pick("lake", "river", "bay"))
    s.topic = s.pick("a little boat", f"a {k.kind} on the {s.slots['water']}")
    s.open(k)
    s.say("{k.New} and {k.his} friend, {f.intro}, went out on the {water} in a small boat.",
          "{k.New} [had|built] a small boat, and one day {k.he} took {k.his} friend, {f.intro}, out on the {water}.")
    s.say("They [fished|sang songs|ate bread and cheese] and did not see how far [they had gone|the boat had drifted].",
          "The water was [calm|smooth], and they could see the fish below.")
    s.say("Then [the oar broke|an oar fell into the water], and they could not row home.",
          "But one oar [slipped away|floated away], and the boat only went around in circles.")
    s.say("\"Now we must [stay here forever|swim],\" said {f.n}. \"No,\" said {k.n}. \"We have {sail}.\"",
          "{f.N} was afraid, but {k.n} had an idea. \"Give me {sail},\" {k.he} said.")
    s.say("They held {sail} up like a sail, and the wind pushed them [home|back to the shore].",
          "{k.He} tied {sail} to the last oar, and it made a fine sail. Soon they were home.")
    s.close("From that day on, they always took [two more oars|a real sail] with them.",
            "\"You are a good captain,\" said {f.n}.", "Their feet were wet, but they laughed all the way up the path.")


def kite(s):
    k = s.kid(); f = s.kid(she=not k.she); c = s.beast(["crow", "squirrel", "cat", "owl", "robin"], named=0.2)
    s.let(k=k, f=f, c=c, colour=s.pick("red", "yellow", "blue", "green", "striped"), tree=s.pick("the tallest tree", "the old oak", "a pear tree"))
    s.topic = s.pick("a kite", f"a {s.slots['colour']} kite", "a windy day")
    s.open(k, "wind")
    s.say("{k.New} made a {colour} kite out of [paper|thin cloth] and string.", "{k.New} and {k.his} friend {f.n} took a {colour} kite to the hill.",
          "{k.New} had a {colour} kite, and [this was a good day for it|{k.he} ran up the hill to fly it].")
    s.say("It flew [so high that it looked like a bird|higher than the church tower|up and up].",
          "The kite danced in the wind, and {f.n} clapped {f.his} hands.")
    s.say("Then the string [broke|slipped away], and the kite was caught in {tree}.",
          "But a strong gust blew it into {tree}, and there it stayed.")
    s.say("{k.N} [pulled|jumped], and {f.n} threw [sticks|pine cones], but the kite did not come down.",
          "The branches were too thin to climb, so they [sat down in the grass|did not know what to do].")
    s.say("{c.New} [looked at the kite|watched them for a while], went up to the top, and [pulled|bit] it free.",
          "Then {c.intro} climbed up and pushed the kite loose with {c.his} nose." if c.kind in ("squirrel", "cat") else
          "Then {c.intro} flew up and pulled the kite loose with {c.his} beak.")
    s.close("\"Thank you!\" they called, and [the kite flew again|they left some bread under the tree].",
            "{k.N} tied a better knot, and they flew the kite until supper.",
            "On the way home, they let {c.the} ride on {k.n}'s shoulder." if c.kind != "cat" else "On the way home, the cat walked beside them like a dog.")


def egg(s):
    k = s.anyone(); m = s.beast(["robin", "sparrow", "duck", "goose", "owl"], she=True, named=0.3)
    if k.kind == m.kind:
        k = s.kid()
    s.let(k=k, m=m)
    s.topic = s.pick("a small egg", f"an egg and a {m.kind}", f"a {k.kind} who found an egg")
    s.open(k)
    s.say("[Under a tree|In the tall grass|On the path], {k.new} found an egg. It was [blue|white|brown with small spots] and still warm.",
          "{k.New} almost stepped on an egg that lay [in the grass|beside the path].")
    s.say("\"Who lost this egg?\" {k.he} asked, and {k.he} looked [up|around].",
          "{k.He} wrapped it in [soft moss|leaves|a scarf] to keep it warm.")
    s.say("{k.He} asked the [cow|goat|snail], but the answer was no. {k.He} asked the [toad|sheep|mole], but the answer was no.",
          "{k.He} carried it carefully [past the pond|from nest to nest|across the meadow], and {k.he} did not run.")
    s.say("At last {k.he} heard {m.intro} crying. \"My egg is gone,\" {m.he} said. \"The wind took it.\"",
          "Near the [fence|pond|old tower] sat {m.intro}. \"I had four eggs,\" {m.he} said, \"and now I have three.\"")
    s.say("{k.N} gave the egg back, and [the mother|{m.n}] put it under her wing." ,
          "\"Is this yours?\" asked {k.n}. \"Yes! Yes!\" said {m.n}, and {m.he} was so happy that {m.he} sang.")
    s.close("A week later, a tiny chick looked out and [said hello|opened its eyes].",
            "And when the chick [hatched|could fly], it came to visit {k.n} first.")


SKILLS = [("swim", "The water was cold, and {k.he} swallowed some of it."), ("whistle", "Only air came out, and {f.n} tried not to laugh."),
          ("climb", "{k.He} slipped and fell into the hay."), ("weave a basket", "The first one looked like a bird's nest."),
          ("read a map", "{k.He} held it upside down and walked into the pond."), ("row a boat", "The boat went around in circles."),
          ("plant potatoes", "{k.He} put them in upside down."), ("skate", "{k.He} fell down nine times."),
          ("play the flute", "The cat ran out of the house."), ("tie a good knot", "The rope came loose at once."),
          ("light a fire", "There was a lot of smoke, but no fire.")]


def learning(s):
    k = s.anyone(); f = s.beast(she=not k.she) if s.chance(0.5) else s.grown(she=not k.she)
    skill, fail = s.pick(*SKILLS)
    s.let(k=k, f=f, skill=skill)
    s.let(fail=fail.format(k=k, f=f))
    s.topic = s.pick(f"a {k.kind} who learned to {skill}", f"learning to {skill}")
    s.open(k)
    s.say("{k.New} wanted to learn how to {skill}.", "All the others knew how to {skill}, but {k.new} did not.",
          "\"I will never learn to {skill},\" said {k.new}.")
    s.say("\"I can teach you,\" said {f.new}. \"[Watch me|It is not hard|It takes time].\"",
          "So {k.he} went to {f.new} and asked for help.")
    s.say("On the first day it went badly. {fail}", "{fail} But {k.n} [tried again|did not give up].", "The first try was [funny|terrible]. {fail}")
    s.say("\"Again,\" said {f.n}, and {k.n} tried again.", "\"Everyone is bad at first,\" said {f.n}. \"[I was, too|Even I was].\"",
          "{k.N} practiced every day, [in the sun and in the rain|before breakfast and after supper].")
    s.say("On the [third|fifth|tenth|last] day it worked, and {k.he} shouted for joy.", "Then, one [morning|evening], {k.he} could do it, and it felt [easy|like magic].")
    s.close("Now {k.n} teaches the little ones how to {skill}.", "\"You see,\" said {f.n}, \"you only needed time.\"",
            "{f.N} was even happier than {k.n}.")


TRADES = [("an egg", "a ball of wool", "a warm scarf"), ("a bag of salt", "a good knife", "a wooden flute"),
          ("a basket of plums", "a jar of honey", "a brown hen"), ("a pair of old boots", "a clay pot", "a blue lamp"),
          ("six candles", "a bell", "a small goat"), ("a sack of flour", "a new shovel", "a young apple tree")]


def market(s):
    k = s.kid(); g = s.grown(she=not k.she)
    while g.the in ("Grandmother", "Grandfather", "Mother", "Father", "Aunt Ruth", "Uncle Joe"):
        g = s.grown(she=not k.she)
    a, b, c = s.pick(*TRADES)
    s.let(k=k, g=g, a=a, b=b, c=c, the="the " + b.split(" ", 1)[1], fam="grandmother" if s.chance(0.5) else "grandfather")
    s.topic = s.pick("a day at the market", f"a {k.kind} at the market", c)
    s.open(k)
    s.say("{k.New} went to the market with {a} and no money.", "On market day, {k.new} took {a} to town.")
    s.say("There {k.he} met {g.n}, who needed {a} and had {b}.", "\"Will you give me {a} for {b}?\" asked {g.n}. \"[Yes|Gladly],\" said {k.n}.")
    s.say("Then a [woman|man|peddler] with a cart saw {the} and said, \"I have looked for that all day. I will give you {c} for it.\"",
          "A little later, an old [man|woman] took {the} and gave {k.him} {c} for it.")
    s.say("{k.N} thought about it, and then {k.he} [said yes|shook hands].", "{k.N} was glad, because {c} was just what {k.his} {fam} needed.")
    s.say("{k.He} carried it home, and {k.his} {fam} [could not believe it|smiled from ear to ear].",
          "\"You left with {a},\" said {k.his} {fam}, \"and you came home with {c}!\"")
    s.close("Everyone got what they needed, and nobody paid a coin.", "That is how a good trade works: both sides go home happy.")


def quarrel(s):
    k = s.anyone(); f = s.anyone(she=not k.she)
    if k.kind == f.kind:
        f = s.beast(she=not k.she)
    t = s.pick("the swing", "the blue cup", "the best place by the fire", "the drum", "the sled", "the red blanket", "the last plum", "the small boat")
    s.let(k=k, f=f, t=t, turn=s.pick("take turns", "share it"))
    s.topic = s.pick("two friends who quarreled", f"a {k.kind} and a {f.kind}", "making peace")
    s.open(k, "wet" if s.chance(0.4) else "fair")
    s.say("{k.New} and {f.new} both wanted {t}.", "{k.New} and {f.new} were best friends, but one day they quarreled about {t}.")
    s.say("\"It is mine!\" said {k.n}. \"No, it is mine!\" said {f.n}.", "\"I was here first,\" said {k.n}. \"But I asked first,\" said {f.n}.")
    s.say("They pulled and pushed, and then they did not speak [all day|for a whole day|until evening].",
          "{k.N} went one way and {f.n} went the other, and both were [sad|lonely|unhappy].")
    s.say("But {k.n} found that it was no fun alone.", "It was very quiet. {f.N} missed {k.n}, and {k.n} missed {f.n}.",
          "In the evening {k.n} [knocked at {f.his} door|came to {f.him}] and said, \"I am sorry.\"")
    s.say("So they agreed to {turn}, and it was better than before.", "\"Let us {turn},\" said {f.n}, and {k.n} [nodded|was glad].")
    s.close("They have been friends ever since.", "\"You are worth more to me than {t},\" said {k.n}.", "That night they both slept well.")


def letter(s):
    k = s.anyone(); g = s.grown(she=not k.she)
    far = s.pick("on the other side of the forest", "across the lake", "at the top of the hill", "at the end of the valley")
    s.let(k=k, g=g, far=far, t=s.pick("a letter", "a small box", "a basket of eggs", "a bottle of medicine", "a pot of soup"))
    s.topic = s.pick("an important errand", f"a {k.kind} with {s.slots['t']}")
    s.open(k, s.pick("wet", "wind", "fair", "cold"))
    s.say("{g.N} gave {k.new} {t} and said, \"Take this to the house {far}. [Please hurry|Be careful|Do not stop on the way].\"",
          "{k.New} had to carry {t} to a friend who lived {far}.")
    s.say("On the way, [a dog barked at {k.him}|the wind pulled at {k.his} coat|it grew dark], but {k.he} held on tight." if k.kind in ("girl", "boy") else
          "On the way, [the wind pushed against {k.him}|it grew dark|the path was steep], but {k.he} held on tight.",
          "{k.He} went [past the mill|over the bridge|through the tall grass], and {k.he} did not rest.")
    s.say("At the [bridge|crossing|old well] there were two roads, and {k.he} did not know which one to take.",
          "Then the path [ended|split in two], and there was no sign.")
    s.say("So {k.he} [looked for footprints|listened for the church bell|looked for smoke in the sky], and that showed {k.him} the way.",
          "{k.He} asked an old [crow|toad|snail], who said, \"Follow the [stream|stones|smell of bread].\"")
    s.say("When {k.he} arrived, the door opened, and [a kind old woman|a kind old man] said, \"I have waited for this!\"",
          "Just before dark, {k.he} knocked at the right door.")
    s.close("{k.N} got [a warm bun|a cup of hot milk|a honey cake] and a place by the fire.", "When {k.he} came home, {g.n} said, \"I knew that I could trust you.\"")


def hat(s):
    k = s.kid() if s.chance(0.7) else s.grown(); f = s.beast(SMALL + ["goat", "crow", "duck"], she=not k.she)
    s.let(k=k, f=f, hat=s.pick("hat", "straw hat", "green hat", "red cap", "yellow scarf"))
    s.topic = s.pick("a hat in the wind", f"a {f.kind} and a hat")
    s.open(k, "wind")
    s.say("A gust took the {hat} of {k.new} and carried it [over the wall|across the field|down the road].",
          "{k.New} went for a walk, and the wind took {k.his} {hat}.")
    s.say("{k.He} ran after it, [over the bridge|through the mud|past the mill], but it was always a little ahead.",
          "\"Stop!\" {k.he} called, but [a hat does not listen|the wind does not listen].".replace("a hat", "a scarf" if "scarf" in s.slots["hat"] else "a hat"))
    s.say("At last it came down [beside a pond|in a meadow|behind the barn], and {f.intro} sat down in it.",
          "It landed in front of {f.intro}. \"What a fine [bed|nest|gift]!\" said {f.n}.")
    s.say("When {k.n} came, {f.n} was already asleep in the {hat}.", "{k.N} wanted to be angry, but {f.n} looked so [happy|cozy] that {k.he} had to smile.")
    s.say("So {k.n} let {f.him} keep it and [made|bought] a new one.", "\"Keep it,\" said {k.n}. \"Your head is cold, too.\"",
          "\"May I have it back?\" asked {k.n}. \"Yes,\" said {f.n}, \"but may I visit it sometimes?\"")
    s.close("Ever since, the wind and {k.n} have been good friends.", "On cold days, you can still see {f.the} in the {hat}.")


def lantern(s):
    k = s.anyone(); f = s.beast(she=not k.she)
    s.let(k=k, f=f, lost=s.pick("two travelers", "an old woman", "a small goat", "the mail cart", "a family of ducks"))
    pl = s.slots["lost"] in ("two travelers", "a family of ducks")
    s.let(they="they" if pl else "it" if "cart" in s.slots["lost"] or "goat" in s.slots["lost"] else "she", was="were" if pl else "was")
    s.topic = s.pick("a lantern", f"a {k.kind} with a lantern", "a light in the night")
    s.open(k, "night")
    s.say("Every evening {k.new} lit a lantern and hung it [by the gate|in the window|on the old oak].",
          "{k.New} had a small lantern, and every night {k.he} put it [in the window|on the wall|on the hill].")
    s.say("\"Why do you do that?\" asked {f.intro}. \"Nobody [comes here|walks here] at night.\"",
          "{f.New} thought that this was a waste of oil.")
    s.say("\"You never know,\" said {k.n}.", "{k.N} only smiled and [cleaned the glass|lit it again].", "\"A light is never wasted,\" said {k.n}.")
    s.say("Then, one [stormy|dark|foggy] night, {lost} {was} lost in the [hills|forest|swamp].", "One night there was a great storm, and {lost} lost the way.")
    s.say("Far away, {they} saw the [small|little] light and followed it to the house.", "But {they} saw the lantern shine, and so {they} found the path.")
    s.close("Now {f.n} helps to light the lantern.", "\"I was wrong,\" said {f.n}. \"It is a very good light.\"")


def building(s):
    k = s.anyone(); f = s.beast(she=not k.she); h = s.beast(she=k.she, named=0)
    t, mat = s.pick(("a bridge", "logs"), ("a house", "stones"), ("a wall", "stones"), ("a raft", "branches"), ("a tower", "bricks"), ("a barn", "boards"), ("an oven", "clay"))
    s.let(k=k, f=f, h=h, t=t, mat=mat, the="the " + t.split(" ", 1)[1])
    s.topic = s.pick(f"building {t}", f"a {k.kind} who built {t}")
    s.open(k)
    s.say("{k.New} wanted to build {t}, because [the old one had fallen down|the old one was too small|there was none in the valley].",
          "\"We need {t},\" said {k.new}. \"Who will help me build it?\"")
    s.say("{f.New} brought {mat}, and {h.intro} [dug the ground|brought a rope|told them jokes].", "{f.New} came with a cart full of {mat}, and {h.intro} came to help, too.")
    s.say("They worked [for three days|from morning until night|for a week], and {the} grew [higher|bigger].",
          "It was heavy work, and their [hands|feet] were sore, but they sang.")
    s.say("On the [second|third|fourth] day it fell down, because they had built it on sand. So they began again on [rock|hard ground].",
          "Then rain came and washed some of it away, but they [started again|did not stop].",
          "{h.The} wanted to go home, but {k.n} said, \"Only a little more.\"")
    s.say("When it was done, {k.n}, {f.n} and {h.the} [sat on the grass and looked at it|danced around it|were proud].",
          "At last {the} was finished, and it was [strong|straight and strong|good].")
    s.close("It is still there today.", "\"None of us could have done it alone,\" said {f.n}.", "Then it rained for a week, but {the} stood firm.")


def sick(s):
    k = s.beast(); f = s.beast(she=not k.she)
    s.let(k=k, f=f, tea=s.pick("mint tea", "hot soup", "honey and milk", "ginger tea", "a warm stone for {0} feet".format(k.his)),
          ill=s.pick("a cold", "a sore throat", "a bad cough", "a fever"))
    s.topic = s.pick(f"a {k.kind} who was ill", f"a {k.kind} with {s.slots['ill']}")
    s.open(k, s.pick("cold", "wet"))
    s.say("{k.New} had {s}, so {k.he} stayed in bed.".replace("{s}", s.slots["ill"]), "[One morning|One day], {k.new} woke up with {s}.".replace("{s}", s.slots["ill"]))
    s.say("{k.He} could not [sing|play|go to the market], and {k.he} was [sad|very bored].", "\"Nobody will come to see me,\" {k.he} [said|thought].")
    s.say("But then there was a knock at the door. It was {f.intro} with {tea}.", "{f.New} heard about it and brought {tea}.")
    s.say("{f.X} [told {k.him} a long story|sat by the bed|swept the floor] and stayed until [evening|{k.he} fell asleep].",
          "\"Rest now,\" said {f.n}. \"I will [feed the hens|water the garden|cut the wood] for you.\"")
    s.say("After [two|three] days, {k.n} was well again.", "Soon {k.n} [could laugh again|was better], because a friend is the best medicine.")
    s.close("A week later, {f.n} caught the cold, and {k.n} brought the tea." if s.slots["ill"] == "a cold" and "tea" in s.slots["tea"] else "\"When you are ill, I will come to you,\" said {k.n}.",
            "{k.N} never forgot that day.")


def harvest(s):
    k = s.kid(); f = s.beast(["donkey", "goat", "squirrel", "crow", "pony", "pig"], she=not k.she)
    fruit = s.pick("apples", "pears", "plums", "cherries", "nuts")
    s.let(k=k, f=f, fruit=fruit)
    s.topic = s.pick(f"picking {fruit}", f"a {k.kind} and a {f.kind} in the orchard")
    s.open(k)
    s.say("The {fruit} were ripe, and {k.new} went out with a basket.", "In autumn, {k.new} had to pick the {fruit} before the [rain|frost|storm] came.")
    s.say("{k.He} picked all the low ones, but the best {fruit} hung [high up|at the very top].", "The ladder was too short, so {k.he} could not reach the top.")
    s.say("{f.New} watched {k.him} and said, \"I can [help|shake the tree], if I may eat a few.\"", "\"May I help?\" asked {f.intro}.")
    s.say("{f.X} [shook the tree|pushed against the tree], and {fruit} fell down like rain." if f.kind in ("donkey", "goat", "pony", "pig") else
          "{f.X} went up to the top and threw the {fruit} down, one by one.")
    s.say("One of them hit {k.n} on the head, and they both laughed.", "By evening the basket was full, and so was {f.n}.", "Soon they had [six|four|ten] baskets full of {fruit}.")
    s.close("They carried everything to the cellar, and the winter could come.", "\"Half for you, half for me,\" said {k.n}, and that was fair.")


def lost_lamb(s):
    k = s.kid(); d = s.beast(["dog"], she=not k.she, named=1.0)
    s.let(k=k, d=d, n=s.pick("nine", "eleven", "nineteen", "twenty"))
    m = {"nine": "ten", "eleven": "twelve", "nineteen": "twenty", "twenty": "twenty-one"}
    s.let(m=m[s.slots["n"]], where=s.pick("behind a big rock", "in a ditch", "under a thorn bush", "near the edge of the cliff", "beside the stream"))
    s.topic = s.pick("a lost lamb", f"a {k.kind} and a dog", "the sheep on the hill")
    s.open(k, s.pick("fair", "wet", "wind"))
    s.say("{k.New} counted the sheep in the evening. There should have been {m}, but there were only {n}.",
          "{k.New} watched {m} sheep on the hill. When the sun went down, one lamb was missing.")
    s.say("\"Come, {d.n},\" {k.he} said to {k.his} dog. \"We must find it.\"", "{k.He} took a lantern and called {k.his} dog, whose name was {d.n}.")
    s.say("They climbed [up and up|over stones|through wet grass], and {k.n} called again and again.", "The wind was cold, but neither of them [turned back|wanted to go home].")
    s.say("Suddenly {d.n} stopped and [barked|lifted {d.his} ears|sniffed the air].", "{d.N} put {d.his} nose to the ground and ran ahead.")
    s.say("The lamb was {where}, [cold but safe|tired and scared|crying for its mother].", "And there was the lamb, {where}!")
    s.close("{k.N} carried it home [on {k.his} shoulders|in {k.his} coat], and {d.n} got a bone.", "Now there were {m} again, and everyone could sleep.")


def music(s):
    k = s.anyone(); f = s.beast(she=not k.she)
    inst, verb = s.pick(("an old flute", "blew into it"), ("a small drum", "tapped on it"), ("a fiddle with one string", "pulled the bow"), ("a tin whistle", "blew as hard as {0} could"), ("a cracked bell", "rang it"))
    s.let(k=k, f=f, inst=inst, where=s.pick("in the attic", "at the market", "in a heap of straw", "on the beach", "under the stairs"))
    s.let(verb=verb.format(k.he))
    s.topic = s.pick(inst, f"a {k.kind} who made music")
    s.open(k)
    s.say("{k.New} found {inst} {where}.", "[One day|One rainy day], {k.new} found {inst} {where}.")
    s.say("{k.He} {verb}, and it made a [terrible|funny|strange] sound.", "When {k.he} {verb}, everyone [covered their ears|ran away].")
    s.say("\"Please stop,\" said the [hens|neighbors|cows].", "So {k.n} went [far out into the fields|to the hill] to play alone.")
    s.say("But {f.intro} [stopped to listen|came closer] and began to [hum|dance|sing].", "Only {f.intro} liked it. \"Play it slowly,\" {f.he} said, \"and I will sing.\"")
    s.say("Together they sounded [good|beautiful], and [soon everyone danced|the whole village came to listen].", "They practiced all summer, and at the harvest feast they played for everyone.")
    s.close("Music is better with two.", "People still [hum|sing] that song today.")


def bees(s):
    k = s.anyone(); 
    s.let(k=k, fl=s.pick("clover", "lavender", "thyme", "poppies"))
    s.topic = s.pick("bees and honey", f"a {k.kind} and the bees")
    s.open(k)
    s.say("{k.New} [loved|wanted] honey, but {k.he} was afraid of the bees.", "{k.New} saw a bee that had fallen into [a puddle|a bucket|the pond].")
    s.say("[One day|One morning] {k.he} found a bee in the water and lifted it out with a leaf.", "{k.He} held out a leaf, and the wet bee climbed onto it.")
    s.say("It dried its wings in the sun, [buzzed|hummed] once, and flew away.", "\"Rest a little,\" {k.he} said, and the bee rested until its wings were dry.")
    s.say("So {k.he} planted {fl} [near the hive|all around the house], because bees like it." if s.slots["fl"] != "poppies" else "So {k.he} planted poppies [near the hive|all around the house], because bees like them.",
          "The next day the bee came back with all its sisters, and they danced around {k.his} head.")
    s.say("They never stung {k.him}, and in autumn they gave {k.him} a [jar|pot] of honey.", "In autumn there was so much honey that {k.he} could share it with the whole village.")
    s.close("\"Thank you,\" said {k.n}. \"[Buzz|You are welcome],\" said the bees.", "A small kindness can [grow wings|come back sweet].")


def mill(s):
    g = s.grown(she=False); k = s.kid(she=True)
    while g.the != "the miller":
        g = s.grown(she=False)
    s.let(k=k, f=s.beast(["donkey", "pony", "goat"], she=False), g=g)
    s.topic = s.pick("a windmill", "a mill that stopped", "the miller")
    s.open(k)
    s.say("There was no wind, so the mill stood still, and there was no flour [for bread|in the village].", "For [five|six|seven] days the air did not move, and the mill did not turn.")
    s.say("\"What shall we do?\" asked the miller. \"People are hungry.\"", "The miller sat on the steps and [waited|sighed].")
    s.say("{k.New} looked at the big wheel and had an idea. \"We can turn it [ourselves|by hand],\" she said.", "\"If the wind will not push, then we must,\" said {k.new}.")
    s.say("She tied a rope to the wheel, and {f.intro} pulled.", "They called {f.intro}, and he walked around and around.")
    s.say("Slowly the stones began to turn, and white flour ran into the sacks.", "The old wheel creaked, and then it turned, and everyone cheered.")
    s.close("That evening there was fresh bread on every table.", "When the wind came back, {f.n} was glad to rest.")


def proud(s):
    k = s.beast(["crow", "goose", "cat", "fox", "pony", "owl"]); f = s.beast(SMALL, she=not k.she)
    if k.kind == f.kind:
        return False
    s.let(k=k, f=f, t=s.pick("a shiny chain", "a pair of red shoes", "a golden feather", "a hat with ribbons", "a silk coat"))
    s.topic = s.pick(f"a proud {k.kind}", f"a {k.kind} with {s.slots['t']}")
    s.open(k)
    s.say("{k.New} found {t} and wore it everywhere." if "shoes" not in s.slots["t"] else "{k.New} found {t} and wore them everywhere.", "{k.New} had {t}, and {k.he} was very proud.")
    s.say("\"Look at me,\" {k.he} said. \"[Nobody is as fine as I am|You are all so plain].\"", "{k.He} did not [play|work] any more, because {k.he} was afraid to get dirty.")
    s.say("One day {k.he} was caught [on a branch|in the brambles|on a nail] and could not get loose, because of {t}.", "Then a storm came, and {k.he} could not [run|hide] well with {t}.")
    s.say("{f.New} came and [bit through the twigs|pulled {k.him} free|led {k.him} into a dry hole].", "\"Take it off,\" said {f.intro}. \"Your life is worth more.\"".replace("it off", "them off" if "shoes" in s.slots["t"] else "it off"))
    s.say("{k.N} was ashamed. \"I laughed at you, and you helped me,\" {k.he} said.", "After that, {k.n} [gave {t} away|hung {t} in a tree] and was happy without it.".replace("without it", "without them" if "shoes" in s.slots["t"] else "without it"))
    s.close("A good friend is finer than {t}.", "\"Plain is fine,\" said {f.n}, and they went home together.")


def star(s):
    k = s.anyone(); g = s.grown(she=not k.she) if s.chance(0.5) else s.beast(["owl", "cat", "badger", "turtle"], she=not k.she)
    if k.kind == g.kind:
        return False
    s.let(k=k, g=g)
    s.topic = s.pick("the stars", f"a {k.kind} and the moon", "the night sky")
    s.open(k, "night")
    s.say("{k.New} looked up at the sky and wanted to [catch a star|touch the moon].", "\"How many stars are there?\" asked {k.new}.")
    s.say("{k.He} climbed the [hill|ladder|tallest tree], but the sky was still far away.", "{k.He} began to count them: one, two, three, four. At [forty|ninety|one hundred] {k.he} was tired.")
    s.say("{g.New} came and sat down beside {k.him}.", "\"It is late. What are you doing?\" asked {g.new}.")
    s.say("\"You do not need to catch it,\" said {g.n}. \"[Look into the pond|Look down there].\" And there, in the water, the whole sky was shining.",
          "\"Some things are too far to hold,\" said {g.n}, \"but they are near enough to see.\"")
    s.say("{k.N} [smiled|was quiet for a long time], and they watched until {k.he} fell asleep.", "So they [lay in the grass|sat on the wall] and looked, and neither of them spoke.")
    s.close("The next night, they came back.", "In {k.his} dream, {k.n} [held a small star|walked on the moon].")


def paint(s):
    k = s.kid(); g = s.grown(she=not k.she)
    t = s.pick("the fence", "the door", "the boat", "the barn", "the hen house", "the cart")
    c1, c2, c3 = s.pick(("blue", "yellow", "green"), ("red", "yellow", "orange"), ("red", "white", "pink"), ("black", "white", "grey"), ("blue", "red", "purple"))
    s.let(k=k, g=g, t=t, c1=c1, c2=c2, c3=c3)
    s.topic = s.pick(f"painting {t}", f"a {k.kind} with a brush")
    s.open(k)
    s.say("{g.N} asked {k.new} to paint {t}.", "{k.New} wanted to paint {t}, because it looked old and sad.")
    s.say("There was a little {c1} paint and a little {c2} paint, but there was not enough of either.", "{k.He} wanted to paint it {c3}, but there was only {c1} and {c2}.")
    s.say("{k.X} poured one into the other by [mistake|accident], and the paint turned {c3}.", "So {k.he} mixed the two with a stick, and they turned {c3}.")
    s.say("\"What a fine color!\" said {g.n}.", "{k.He} painted all day, and by evening there was {c3} paint on {t}, on {k.his} nose and on the cat.")
    s.say("When it was dry, {t} was the brightest thing in the village.", "The neighbors liked it so much that they all wanted {c3} paint.")
    s.close("The cat was {c3} for a week.", "{g.N} laughed and brought a towel.")


def helper_chain(s):
    k = s.anyone(); f = s.beast(["donkey", "pony", "pig", "goat"], she=not k.she, named=0); m = s.beast(["mouse", "sparrow", "frog", "mole"], named=0)
    s.let(k=k, f=f, m=m, t=s.pick("a huge turnip", "a heavy stone", "an old stump", "a stuck cart", "a big log"))
    s.let(the="the " + s.slots["t"].split(" ", 1)[1])
    s.topic = s.pick(s.slots["t"], f"a {k.kind} who needed help")
    s.open(k)
    s.say("{k.New} wanted to move {t}, but it was too heavy.", "There was {t} in the way, and {k.new} could not move it.")
    s.say("{k.He} pulled and pulled, but it did not move.", "{k.He} pushed until {k.his} face was red.")
    s.say("{f.New} came to help, and they pulled together. It moved a little, but not enough.", "So {k.he} called {f.intro}. Together they pulled, but {the} stayed where it was.")
    s.say("Then {m.intro} said, \"I will help, too.\" {f.The} laughed, because {m.he} was so small.", "\"What about me?\" asked {m.intro}. \"You?\" said {f.the}. \"You are too small.\"")
    s.say("But when all three pulled, {the} moved at last!", "But all three pulled at once, and with a loud crack {the} came loose.")
    s.close("\"Every bit helps,\" said {m.the}.", "After that, nobody laughed at {m.the}.")


STORIES = [
    (dry_well, 3), (lost_thing, 4), (leaky_home, 3), (broken_tool, 3), (rooster_fox, 2.2),
    (rooster_fog, 2), (rooster_sun, 1.6), (rooster_small_work, 1.8), (journey, 5), (sharing, 4),
    (garden, 3), (winter_guest, 4), (stuck, 4), (noise, 3), (baking, 4), (race, 3), (boat, 3),
    (kite, 3), (egg, 3), (learning, 4), (market, 3), (quarrel, 3), (letter, 3), (hat, 2),
    (lantern, 3), (building, 3), (sick, 3), (harvest, 3), (lost_lamb, 2), (music, 3), (bees, 2),
    (mill, 1), (proud, 2), (star, 2), (paint, 2), (helper_chain, 2),
]


def a_story(rng):
    """One story as (text, topic)."""
    while True:
        s = Story(rng)
        tell = rng.choices([t for t, _ in STORIES], [w for _, w in STORIES])[0]
        if tell(s) is False:  # the dice gave a cast that does not fit
            continue
        topic = re.sub(r"\b([Aa]) (?=[aeiou](?!ne |se))", r"\1n ", s.topic)
        return " ".join(s.lines), topic


# ------------------------------------------------------------------- chats

ASK = [
    "Tell me a story about {t}.", "Tell me a story about {t}, please.", "Please tell me about {t}.",
    "Write a short story about {t}.", "Can you tell me a story about {t}?", "I want a story about {t}.",
    "Do you know a story about {t}?", "A story about {t}, please.",
]
ASK_ANY = ["Tell me a story.", "Please tell me a story.", "Write a story.", "Tell me something.",
           "I cannot sleep. Tell me a story.", "Do you know a story?", "Tell me a short story, please."]
HELLO = ["Hello!", "Hello.", "Hi!", "Hi there.", "Good morning!", "Good evening.", "How are you?",
         "Who are you?", "What is your name?", "What can you do?", "Hello, who are you?"]
REPLY = ["I am Bantam, a very small storyteller.", "Hello! I am Bantam, and I know many small stories.",
         "My name is Bantam. I am little, but I can tell stories.", "Good day! I am a small model with small stories."]
OFFER = ["Ask me for a story about a fox, a boat or a garden.", "Shall I tell you a story?",
         "Tell me an animal, and I will tell you a story.", "Here is one."]


def a_line(rng):
    """A story as it is, or now and then a short chat."""
    text, topic = a_story(rng)
    dice = rng.random()
    if dice < 0.80:
        return text
    if dice < 0.96:
        ask = rng.choice(ASK).format(t=topic) if rng.random() < 0.8 else rng.choice(ASK_ANY)
        return f"<|user|>{ask}<|assistant|>{text}"
    offer = rng.choice(OFFER)
    reply = f"{rng.choice(REPLY)} {offer}"
    if offer == OFFER[-1]:
        return f"<|user|>{rng.choice(HELLO)}<|assistant|>{reply} {text}"
    ask = rng.choice(ASK).format(t=topic)
    return f"<|user|>{rng.choice(HELLO)}<|assistant|>{reply}</s><|user|>{ask}<|assistant|>{text}"


def rows(lines, longest=1500):
    """Of every two records one is a story, and one is as many as fill a context of 512 tokens, about three bytes each."""
    lines = list(reversed(lines))
    while lines:
        yield lines.pop()
        row = []
        while lines and sum(map(len, row)) + len(lines[-1]) <= longest:
            row.append(lines.pop())
        if row:
            yield "</s><s>".join(row)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("--megabytes", type=float, default=8.0, help="how much text to write")
    args.add_argument("--out", default="data", help="the folder for the files")
    args = args.parse_args()

    rng = random.Random(args.seed)
    seen, size = {}, 0  # a dict, because it keeps the order
    while size < args.megabytes * 1e6:
        line = a_line(rng)
        if line in seen:  # every story in the text is a different one
            continue
        seen[line] = None
        size += len(line.encode()) + 1
    held_out, lines = list(seen)[:HELD_OUT], list(seen)[HELD_OUT:]
    for folder, train in ((args.out, lines), (os.path.join(args.out, "rows"), rows(lines))):
        os.makedirs(folder, exist_ok=True)
        for name, part in (("valid", held_out), ("train", train)):
            with open(os.path.join(folder, f"{name}.jsonl"), "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in part)
    print(f"{len(seen)} stories, {size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
