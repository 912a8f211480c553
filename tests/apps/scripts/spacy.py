"""A blank pipeline with rules."""
import spacy
from spacy.matcher import Matcher

nlp = spacy.blank("en")
nlp.add_pipe("sentencizer")
ruler = nlp.add_pipe("entity_ruler")
ruler.add_patterns([{"label": "ORG", "pattern": "Acme"}])
doc = nlp("Acme sells rockets. It doesn't sell roadrunners.")
print([token.text for token in doc], len(list(doc.sents)), [(e.text, e.label_) for e in doc.ents])
matcher = Matcher(nlp.vocab)
matcher.add("SELL", [[{"LOWER": {"IN": ["sells", "sell"]}}, {"IS_ALPHA": True}]])
print([doc[start:end].text for _, start, end in matcher(doc)])
