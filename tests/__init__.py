"""Tests: `builders` make files from short literals; `oracle` compares with torch and safetensors; the rest needs neither."""
