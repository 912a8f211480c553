"""Trains a model, and normalises by the tables that come in the wheel."""
from pathlib import Path

import sentencepiece

text = "the quick brown fox jumps over the lazy dog and the slow brown bear\n" * 50
Path("text.txt").write_text(text)
sentencepiece.SentencePieceTrainer.train(
    input="text.txt", model_prefix="model", vocab_size=30, minloglevel=2
)
model = sentencepiece.SentencePieceProcessor(model_file="model.model")
print(model.encode("the lazy fox", out_type=str))
for rule in ("nfkc", "nmt_nfkc_cf"):
    print(sentencepiece.SentencePieceNormalizer(rule_name=rule).normalize("ＫＡＤＯＫＡＷＡ ﬁne ㍿"))
