"""Texts that are no documents: greetings, questions alone, names of files, empty pages, prose, chats, program text."""

from __future__ import annotations

import random
import re

GREETINGS = (
    "hello,hi,hey there,good morning,good evening!,hello?,Hallo,Bonjour,Hola,Ciao,how are you?,thanks,thank you!,ok,"
    "yes please,test,testing 123,asdf,who are you?,what can you do?,help,help me,can you hear me,bye,see you tomorrow"
).split(",")
QUESTIONS = (
    "What is the total?|Who is the seller?|When is this due?|How much did I pay?|Can you read PDFs?|What is the date?|"
    "Which law governs the agreement?|Is this a receipt?|How do I upload a document?|What is an invoice?|"
    "Please extract the fields.|Extract the invoice.|Summarize this contract.|Read the attached file.|"
    "What does a notice period mean?|Which languages do you speak?|Please process the document I sent you.|"
    "Write a poem about autumn.|Translate 'receipt' into French.|What is 12 times 12?|Tell me a joke."
).split("|")
NAMES = "scan,receipt,IMG,invoice,document,contract,photo,Rechnung,facture,page,untitled,file,report,upload".split(",")
ENDINGS = "pdf,jpg,jpeg,png,docx,txt,tiff,xlsx,zip".split(",")
REMARKS = (
    "This page intentionally left blank|[blank page]|(no text)|-|...|page 1 of 1|1|no text found|N/A|### |---|•|null|"
    "[image]|Loading...|404 Not Found|Lorem ipsum dolor sit amet, consectetur adipiscing elit."
).split("|")
PROSE = (
    "The train leaves at half past nine and arrives in the afternoon. Bring something to eat.|"
    "The weather stayed cold all week, and the river froze over by Sunday.|"
    "Once upon a time there was a miller who had three sons, a mill, a donkey and a cat.|"
    "Photosynthesis turns light into chemical energy. Plants, algae and some bacteria do it.|"
    "I went to the market yesterday, but they had no apples, so I came home with pears.|"
    "Mix the flour with the butter, add two eggs and let the dough rest for an hour.|"
    "Our team won by two goals, and the crowd sang until the lights went out.|"
    "To be, or not to be, that is the question.|The quick brown fox jumps over the lazy dog."
).split("|")
# Of each language who does what, where or when; what people write to each other; and how a dish is made.
SENTENCES = {
    "en": "My sister|The old gardener|A stray dog|The teacher|Nobody/waters the roses|tells long stories|hides behind "
    "the shed|counts the swallows|knows the way/before breakfast|at the lake|every spring|when it is quiet",
    "de": "Der Nachbar|Meine Tante|Ein Kind|Der Bäcker/gießt die Blumen|erzählt vom Meer|sucht seinen Schal|lacht laut/"
    "am Abend|vor dem Haus|jeden Sonntag|im Frühling",
    "fr": "Le facteur|Ma cousine|Un enfant|Le chat/regarde les nuages|chante doucement|cherche ses clés|attend le bus/"
    "devant l'école|le matin|près du pont|en été",
    "es": "El vecino|Mi abuela|Un niño|La profesora/riega las plantas|cuenta historias|busca su paraguas|canta/"
    "por la mañana|en el parque|cada domingo|cerca del río",
    "it": "Il nonno|Mia sorella|Un bambino|Il gatto/guarda il mare|canta piano|cerca le chiavi|dorme/"
    "la mattina|in giardino|ogni domenica|vicino al ponte",
    "nl": "De buurman|Mijn tante|Een kind|De hond/kijkt naar de wolken|zingt zachtjes|wacht op de bus|slaapt/"
    "in de tuin|elke zondag|bij de brug|in de zomer",
    "pt": "O vizinho|Minha avó|Uma criança|O gato/olha para o mar|canta baixinho|procura as chaves|dorme/"
    "de manhã|no jardim|todos os domingos|perto da ponte",
    "pl": "Sąsiad|Moja siostra|Dziecko|Kot/patrzy na chmury|śpiewa cicho|szuka kluczy|śpi/rano|w ogrodzie|co niedzielę|"
    "koło mostu",
    "cs": "Soused|Moje sestra|Dítě|Kocour/kouká na mraky|tiše zpívá|hledá klíče|spí/ráno|na zahradě|každou neděli|"
    "u mostu",
}
CHATS = {
    "en": "did you feed the fish?|on my way|lol no way|can we move it to monday?|the bus is late again|sure, why not|"
    "who has the key?|see you there|that cost me @num euros!!|happy birthday :)",
    "de": "bin gleich da|hast du den Schlüssel?|haha, nein|geht auch Montag?|der Bus kommt nicht|klar, gerne|"
    "alles Gute!|das waren @num Euro|wo seid ihr?",
    "fr": "j'arrive|tu as la clé ?|mdr non|on dit lundi ?|le bus est en retard|oui, pourquoi pas|bon anniversaire !|"
    "ça m'a coûté @num euros",
    "es": "ya llego|¿tienes la llave?|jaja, no|¿mejor el lunes?|el autobús no viene|vale, claro|¡felicidades!|"
    "me costó @num euros",
    "it": "arrivo subito|hai tu la chiave?|ahah no|facciamo lunedì?|l'autobus non passa|certo, volentieri|auguri!",
}
FRIENDS = "Tom,Mia,Ben,Jana,Luc,Ines,Paolo,Kim,me,you,Anna,Ole".split(",")
RECIPES = {
    "en": "Apple crumble|Lentil stew|Oat biscuits/2@digit0 g oats|4 apples|1@digit0 ml water|2 spoons of honey|1 onion/"
    "Chop everything.|Stir well.|Bake for 3@digit minutes.|Simmer until soft.|Serve warm.",
    "de": "Apfelkuchen|Linseneintopf|Haferkekse/2@digit0 g Mehl|4 Äpfel|1@digit0 ml Milch|1 Prise Zimt/Alles klein "
    "schneiden.|Gut verrühren.|3@digit Minuten backen.|Warm servieren.",
    "fr": "Tarte aux poires|Soupe de lentilles|Sablés/2@digit0 g de farine|4 poires|1@digit0 ml de lait|1 oignon/"
    "Couper en dés.|Bien mélanger.|Cuire 3@digit minutes.|Servir tiède.",
    "es": "Tarta de manzana|Lentejas|Galletas/2@digit0 g de harina|4 manzanas|1@digit0 ml de leche/Cortar en trozos.|"
    "Mezclar bien.|Hornear 3@digit minutos.|Servir caliente.",
}
# Program text by language, in parts: @var is one of the names of the text, @num a number, @say some words.
PROGRAMS = {
    "python": '''import @word
~from @word import @var
~@var = @num
~@var = [@num, @num, @num]
~@var = {"@word": @num, "@word": "@say"}
~print("@say", @var)
~# @say
~def @var(@var, @var=@num):
    """@say"""
    return @var - @num
~if @var > @num:
    @var += @num
else:
    @var = None
~for @var in range(@num):
    print(@var(@var))
~with open("@word.txt") as handle:
    @var = handle.read().strip()
~try:
    @var(@var)
except ValueError as error:
    raise SystemExit(f"@say: {error}")
~@dataclass
class @Name(@Name):
    @var: int = @num
    @var: str = "@say"
~@var = sorted(set(@var), key=lambda entry: entry.@word)
~assert @var(@num) == @num''',
    "javascript": """import { @var } from "./@word.js";
~let @var = @num;
~const @var = await fetch("/api/@word/@num");
~// @say
~function @var(@var, @var) {
  return @var + @num;
}
~if (@var === @num) {
  @var("@say");
}
~@var.addEventListener("@word", () => {
  @var = !@var;
});
~export default class @Name extends @Name {
  @var = "@say";
}
~document.querySelector("#@word").textContent = `@say ${@var}`;
~interface @Name { @var: number; @var?: string }
~for (let i = 0; i < @num; i++) @var.push(i * @num);
~throw new Error("@say");
~module.exports = { @var, @var };""",
    "java": """package com.@word.@word;
~import java.util.@Name;
~/** @say. */
~public class @Name extends @Name {
    private final int @var = @num;
}
~public void @var(String @var) {
    System.out.println("@say " + @var);
}
~int @var = @var.get(@num);
~if (@var == null) throw new IllegalStateException("@say");
~@Override
public boolean @var() { return @num > @var; }
~List<@Name> @var = new ArrayList<>();
~for (@Name @var : @var) @var.@var();""",
    "c": """#include <@word.h>
~#define @WORD @num
~/* @say */
~int @var(int @var, char *@var)
{
    return @var % @num;
}
~static double @var = @num;
~for (int i = 0; i < @num; ++i)
    @var[i] = @var(i);
~printf("@say: %d\\n", @var);
~struct @word { int @var; long @var[@num]; };
~while (*@var != '\\0') @var++;
~if (!@var) { free(@var); return -1; }
~std::vector<int> @var(@num);""",
    "sql": """SELECT @var, @var FROM @word WHERE @var > @num;
~select count(*) from @word;
~CREATE TABLE @word (
    @var INTEGER PRIMARY KEY,
    @var VARCHAR(@num) NOT NULL
);
~INSERT INTO @word (@var, @var) VALUES (@num, '@say');
~UPDATE @word SET @var = @num WHERE @var = '@word';
~DELETE FROM @word WHERE @var IS NULL;
~-- @say
~SELECT a.@var, b.@var
FROM @word a JOIN @word b ON a.@var = b.@var
LIMIT @num;
~DROP INDEX IF EXISTS @var;
~ALTER TABLE @word ADD COLUMN @var DATE;""",
    "shell": """#!/usr/bin/env bash
set -euo pipefail
~# @say
~cd /srv/@word && ls -la
~export @WORD=@num
~echo "@say"
~grep -rn "@word" src/ | sort | uniq -c
~if [ -f "@word.log" ]; then
  rm "@word.log"
fi
~while read -r @var; do echo "$@var"; done < @word.txt
~git commit -m "@say"
~docker run --rm -p @num:@num @word
~@word() { curl -s "http://localhost:@num/$1"; }
~$ npm install @word
~sudo systemctl restart @word""",
    "html": """<!DOCTYPE html>
<html lang="en">
~<head><meta charset="utf-8"><title>@say</title></head>
~<div class="@word" id="@word">
  <p>@say</p>
</div>
~<!-- @say -->
~<a href="/@word/@num">@say</a>
~<script src="@word.js"></script>
~<ul>
  <li>@say</li>
  <li>@say</li>
</ul>
~<button onclick="@var(@num)">@word</button>
~<img src="@word.png" alt="@say" width="@num">
~<form action="/@word" method="post"><input name="@word"></form>""",
    "css": """.@word {
  width: @numpx;
  margin: 0 auto;
}
~#@word > a:hover { color: #3a@num; }
~@media (max-width: @numpx) {
  .@word { display: none; }
}
~/* @say */
~body { font: @numpx/1.5 sans-serif; }
~:root { --@word: @numrem; }""",
    "yaml": """version: @num
~@key:
  @key: @num
  @key: "@say"
~@key:
  - @word
  - @word
~# @say
~@key: true
~services:
  @word:
    image: @word:@num
    ports: ["@num:@num"]""",
    "ini": """[@key]
@key = @num
~@key = @word
~; @say
~@key=/etc/@word/@word.conf
~@WORD=@num
~@key = false""",
    "log": """2024-0@digit-1@digit 0@digit:1@digit:2@digit INFO [@word] @say
~2024-0@digit-1@digit 0@digit:3@digit:0@digit WARN @word took @num ms
~2023-1@digit-0@digitT1@digit:0@digit:00Z level=error msg="@say" @key=@num
~[@num.@num] usb @digit-1: @say
~127.0.0.1 - - "GET /@word/@num HTTP/1.1" 200 @num
~npm ERR! code @WORD
~make: *** [@word.o] Error @digit
~DEBUG:@word:@say @num""",
    "trace": """Exception in thread "main" java.lang.@NameException: @say
    at com.@word.@Name.@var(@Name.java:@num)
    at com.@word.@Name.main(@Name.java:@num)
~TypeError: @var is not a function
    at @var (/srv/@word/index.js:@num:@digit)
    at process.nextTick (node:internal:@num)
~  File "/usr/lib/@word/@word.py", line @num, in @var
    return @var(@var)
ValueError: @say
~Segmentation fault (core dumped)
~panic: @say

goroutine @digit [running]:
main.@var(0x@num)
    /go/src/@word/main.go:@num
~@word.c:@num:@digit: error: '@var' undeclared""",
}
JSON_VALUES = ("@num", "true", "null", '"@say"', '["@word", "@word"]')
SNAKE = ("python", "c", "sql", "shell")
WORDS = (
    "user order page item price total tax queue cache token index buffer record line count row parser client server "
    "config label field image task event file date node map result status number customer amount batch width score"
).split()
KEYS = "name host port level timeout debug retries path theme language workers cache color width mode plugins".split()
SAYINGS = (
    "done|not found|loading the next page|could not open the file|invalid state|retry later|all good|hello world|"
    "nothing to do|connection refused|reads one line|skip empty rows|wrong type|first try|see the readme|unexpected end"
).split("|")


def text(draw: random.Random) -> str:
    """A text that is no document."""
    return draw.choice(KINDS)(draw)


def _greeting(draw: random.Random) -> str:
    one = draw.choice(GREETINGS)
    return draw.choice((one, one.capitalize(), one.upper(), f"{one} {draw.choice(GREETINGS)}"))


def _question(draw: random.Random) -> str:
    return " ".join(draw.sample(QUESTIONS, draw.choice((1, 1, 1, 2))))


def _file(draw: random.Random) -> str:
    number = draw.choice(("", f"_{draw.randint(1, 9999)}", f"-{draw.randint(2015, 2026)}", f" ({draw.randint(1, 9)})"))
    folder = draw.choice(("", "", "", "C:\\Users\\me\\Desktop\\", "/home/me/", "./data/", "https://example.com/"))
    return f"{folder}{draw.choice(NAMES)}{number}.{draw.choice(ENDINGS)}"


def _empty(draw: random.Random) -> str:
    return draw.choice(("", " ", "\n\n", *REMARKS))


def _letters(draw: random.Random) -> str:
    return "".join(draw.choice("abcdefghijklmnop rstuvwxyz0123456789") for _ in range(draw.randint(1, 60)))


def _prose(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return draw.choice(("\n", " ")).join(draw.sample(PROSE, draw.choice((1, 1, 2, 3))))
    who, does, when = (part.split("|") for part in draw.choice([*SENTENCES.values()]).split("/"))
    made = [f"{draw.choice(who)} {draw.choice(does)} {draw.choice(when)}." for _ in range(draw.randint(1, 8))]
    return " ".join(made)


def _chat(draw: random.Random) -> str:
    said = draw.choice([*CHATS.values()]).split("|")
    between = draw.sample(FRIENDS, 2) if draw.random() < 0.8 else ("", "")
    lines = draw.sample(said, draw.randint(1, len(said)))
    made = [f"{between[n % 2]}: {line}".removeprefix(": ") for n, line in enumerate(lines)]
    return _filled("\n".join(made), "", draw)


def _recipe(draw: random.Random) -> str:
    dishes, things, steps = (part.split("|") for part in draw.choice([*RECIPES.values()]).split("/"))
    parts = draw.sample(things, draw.randint(2, len(things))), draw.sample(steps, draw.randint(2, len(steps)))
    mark = draw.choice(("\n", "\n- ", " "))
    return _filled(f"{draw.choice(dishes)}:{mark}{mark.join(parts[0])}\n{' '.join(parts[1])}", "", draw)


def _program(draw: random.Random) -> str:
    language = draw.choice(["json", *PROGRAMS])
    most = draw.randint(1, 25)
    if language == "json":
        made = [f'  "@key": {draw.choice(JSON_VALUES)}' for _ in range(most)]
        return _filled("{\n" + ",\n".join(made[: most // 2 + 1]) + "\n}", language, draw)
    parts = PROGRAMS[language].split("\n~")
    lines = "\n".join(draw.choice(parts) for _ in range(most)).split("\n")
    return _filled("\n".join(lines[:most]), language, draw)


KINDS = (_greeting, _question, _file, _empty, _letters, _prose, _chat, _recipe, _program, _program)


def _filled(template: str, language: str, draw: random.Random) -> str:
    names = ["_".join(draw.sample(WORDS, draw.choice((1, 1, 2)))) for _ in range(5)]
    if language not in SNAKE:
        names = [re.sub("_(.)", lambda found: found[1].upper(), name) for name in names]
    made = {
        "var": lambda: draw.choice(names),
        "word": lambda: draw.choice(WORDS),
        "WORD": lambda: draw.choice(WORDS).upper(),
        "Name": lambda: "".join(map(str.capitalize, draw.sample(WORDS, draw.choice((1, 2))))),
        "key": lambda: draw.choice(KEYS),
        "num": lambda: str(draw.choice((draw.randint(1, 9), draw.randint(10, 999)))),
        "digit": lambda: str(draw.randint(0, 9)),
        "say": lambda: draw.choice(SAYINGS),
    }
    return re.sub("@(var|word|WORD|Name|key|num|digit|say)", lambda found: made[found[1]](), template)
