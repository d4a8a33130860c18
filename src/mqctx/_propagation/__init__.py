"""Context to headers and back: settings, injector and encoder, decoder and extractor."""
