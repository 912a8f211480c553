"""What needs no corpus: stemming, a grammar, distances and n-grams."""
import nltk
from nltk.stem import PorterStemmer, SnowballStemmer

print([PorterStemmer().stem(word) for word in ("running", "flies", "happily")], SnowballStemmer("german").stem("häuser"))
print(nltk.edit_distance("kitten", "sitting"), list(nltk.bigrams("abcd")))
grammar = nltk.CFG.fromstring("S -> N V\nN -> 'dogs' | 'cats'\nV -> 'sleep'")
print([str(tree) for tree in nltk.ChartParser(grammar).parse("cats sleep".split())])
print(nltk.tokenize.WordPunctTokenizer().tokenize("It's 5 o'clock."))
try:
    nltk.data.find("corpora/none")
except LookupError:
    print("no corpus")
