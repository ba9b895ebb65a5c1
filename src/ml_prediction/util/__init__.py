"""Small tools that every layer may use: channel codes and exact times."""
