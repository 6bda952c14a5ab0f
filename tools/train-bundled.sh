#!/bin/sh
# Trains the model that comes with my-llm, from nothing to finished: a vocabulary, the model, and its files in F16.
#
#     tools/train-bundled.sh BOOKS FOLDER [MY-LLM]
#
# BOOKS is the collection of prose (.xz). Everything lies in FOLDER, FOLDER/bundled in the end. Stopped in between
# (Ctrl-C, a power cut), the same command goes on.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 BOOKS FOLDER [MY-LLM]" >&2
    exit 2
fi
books=$1 folder=$2 my_llm=${3:-build/my-llm}
steps=6900 cooldown=1440

mkdir -p "$folder"
[ -d "$folder/vocabulary" ] || "$my_llm" tokenize --train "$books" --vocab-size 8192 --out "$folder/vocabulary"
resume=
[ -d "$folder/run" ] && resume=--resume
"$my_llm" pretrain "$books" --out "$folder/run" $resume --tokenizer "$folder/vocabulary" --cache "$folder/ids" \
    --val-split 0.02 --context 512 --n-layer 8 --n-head 4 --n-embd 256 --batch-size 8 --compute bf16 \
    --schedule constant --lr 1.5e-3 --min-lr 0 --warmup 400 --steps $steps --cooldown $cooldown --decay matrices \
    --beta2 0.99 --eval-freq 500 --eval-iter 10 --save-every 200 --prompt "Once upon a time" --sample-tokens 0
"$my_llm" convert --dtype f16 --force "$folder/run" "$folder/bundled"
