# Names that are not ours: help and version in every form, other programs' names for options and verbs, typos, and words
# that resemble nothing.
load "$DDPM_SUPPORT"

# answers TEXT WORDS…: `ddpm WORDS` fails with one line that contains TEXT.
answers() {
    local text=$1
    shift
    run "$DDPM" "$@"
    fails 2 "$text" || { echo "of: ddpm $*"; return 1; }
}

# guesses_nothing WORDS…: fails without a suggestion.
guesses_nothing() {
    run "$DDPM" "$@"
    fails 2 || { echo "of: ddpm $*"; return 1; }
    if [[ "$output" == *nearest* ]]; then
        echo "ddpm $* was answered: $output"
        return 1
    fi
}

@test "help and version in every form" {
    for words in help --help -h "help help" "--help --help"; do
        run "$DDPM" $words
        succeeds
        says "Usage: ddpm VERB"
    done
    for words in "help train" "--help train" "-h train" "train -h" "train --help"; do
        run "$DDPM" $words
        succeeds
        says "Usage: ddpm train" "--lr X"
    done
    for words in version --version -V; do
        run "$DDPM" $words
        succeeds
        [[ "$output" =~ ^ddpm\ [0-9.]+$ ]]
    done
    answers '"train"' help trian
    guesses_nothing help nonsense
}

@test "verbs: typos find the nearest, other programs' names are known, the rest is not guessed" {
    while read -r word nearest; do
        answers "the nearest is \"$nearest\"" "$word"
    done <<'END'
trian train
Train train
TRAIN train
--train train
tarin train
sampel sample
samples sample
sam sample
predcit predict
nois noise
pakc pack
packs pack
inof info
bnech bench
completoin completion
hlep help
versoin version
END
    answers "ddpm sample draws" generate
    answers "ddpm sample draws" inference
    answers "ddpm train --resume" resume
    answers "ddpm pack makes" preprocess
    answers "ddpm info describes" inspect
    answers "ddpm bench times" benchmark
    answers "the verb comes before its options" --data pictures
    answers "the verb comes before its options" --lr 1
    guesses_nothing ""
    for word in foo serve export ls fid x upload server; do
        guesses_nothing "$word"
    done
}

@test "options that mean the same are accepted with a remark" {
    while read -r verb word ours; do
        run "$DDPM" $verb "--$word" 1
        [ "$status" -ne 0 ] # something else is missing
        says "option --$word is called --$ours here" || { echo "of: ddpm $verb --$word"; return 1; }
    done <<'END'
train learning-rate lr
train learning_rate lr
train Learning_Rate lr
train train_lr lr
train train_batch_size batch-size
train max_train_steps steps
train train-num-steps steps
train lr_anneal_steps steps
train gradient_accumulation_steps accumulate
train gradient_accumulate_every accumulate
train num_train_timesteps timesteps
train diffusion_steps timesteps
train noise_schedule schedule
train beta_schedule schedule
train resolution image-size
train img-size image-size
train train_data_dir data
train adam_beta1 beta1
train adam_epsilon eps
train adam_weight_decay weight-decay
train lr_warmup_steps warmup
train ema_rate ema-decay
train ema_update_every ema-every
train channel_mult dim-mults
train num_channels dim
train output_dir out
train outdir out
train checkpointing_steps save-every
train save_interval save-every
train dataloader_num_workers decode-threads
train clip_grad_norm max-grad-norm
sample num_samples count
sample n_samples count
sample outdir out
pack resolution size
pack image-size size
synth num_images count
END
}

@test "a run whose options have names from another program works from start to end" {
    cd "$BATS_TEST_TMPDIR"
    make_pictures p 8
    run "$DDPM" train --train_data_dir p --output_dir=r "${TINY[@]}" --max_train_steps 1 --learning_rate 0.002 \
        --sample_every 0
    succeeds
    grep -q '"train_lr": 0.002' r/config.json
    grep -q '"train_num_steps": 1,' r/config.json
}

@test "for options that mean something else, the error says what to use" {
    while read -r word text; do
        answers "$text" train "--$word" 1
    done <<'END'
epochs --steps = epochs x pictures / (--batch-size x --accumulate)
num-epochs --steps = epochs x pictures / (--batch-size x --accumulate)
num_train_epochs --steps = epochs x pictures / (--batch-size x --accumulate)
kimg --steps = pictures / (--batch-size x --accumulate)
num-steps --steps are those of training, --timesteps those of the diffusion
mixed_precision --precision fp32, bf16 or auto
fp16 --precision fp32, bf16 or auto
gpus --device takes one of cpu, cuda and cuda:N
gradient_checkpointing --memory low
random_flip --flip on or off
center_crop --crop center or random
resume_from_checkpoint --resume continues
dataset --data takes a folder
dropout the networks have no dropout
num_res_blocks --network picks
use_ema an average is always kept
optimizer_type --optimizer adamw or muon
width --image-size HxW
save-and-sample-every --save-every and --sample-every
END
    answers "is an argument, not an option" sample --ckpt x
    answers "ddpm train takes it and calls it --lr" sample --learning-rate 1
    answers "ddpm train takes it" synth --lr 1
    answers "ddpm sample takes it" train --trajectory x
}

@test "options: typos find the nearest, unrelated words do not" {
    while read -r word nearest; do
        answers "the nearest is --$nearest" train "--$word" 1
    done <<'END'
dim-mult dim-mults
oot out
otu out
stesp steps
timestep timesteps
time-steps timesteps
sheduler schedule
sched schedule
lr-shedule lr-schedule
batchsize batch-size
bacth-size batch-size
imagesize image-size
accum accumulate
acumulate accumulate
weightdecay weight-decay
decode-thread decode-threads
max-gradnorm max-grad-norm
presision precision
divice device
memroy memory
reusme resume
ema-decai ema-decay
hlep help
rank ranks
END
    for word in foo bar verbose quiet yes temperature cfg-scale prompt lora name port host feed need l x q \
        attention learning train model-type vae; do
        guesses_nothing train "--$word" 1
    done
}

@test "underscores stand for hyphens" {
    run "$DDPM" train --image_size 7x --out r
    fails 2 "option image-size: got \"7x\""
}

@test "the same for keys of a configuration file" {
    cd "$BATS_TEST_TMPDIR"
    while read -r section key text; do
        printf '{"%s": {"%s": 1}}' "$section" "$key" > c.json
        run "$DDPM" train --config c.json --out r
        fails 1 "$text" || { echo "of: $section.$key"; return 1; }
    done <<'END'
trainer_config learning_rate want "train_lr" of trainer_config
trainer_config epochs want "train_num_steps" of trainer_config: a run is counted in steps
trainer_config resolution want "image_size" of diffusion_config
trainer_config timesteps want "timesteps" of diffusion_config
unet_config dropout the networks have no dropout
unet_config dim_mult the nearest is "dim_mults"
END
    printf '{"trainer_config": {"temperature": 1}}' > c.json
    run "$DDPM" train --config c.json --out r
    fails 1 'no key is called "temperature" here'
    [[ "$output" != *nearest* ]]
}
