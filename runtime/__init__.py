"""The engine: bundle, tokenizer, pictures, sessions, KV cache, decoding, grammar, the inspection protocol."""
