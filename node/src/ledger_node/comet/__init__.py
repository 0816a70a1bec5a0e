"""The CometBFT engine: the ABCI server, the handler behind it, the supervised `cometbft` process and its RPC."""
