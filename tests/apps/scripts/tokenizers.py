"""Trains a small tokenizer and uses it."""
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False)
tokenizer.train_from_iterator(["low lower lowest", "new newer newest"] * 5, trainer)
print(tokenizer.encode("lowest newer").tokens, tokenizer.get_vocab_size())
