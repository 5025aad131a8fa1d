; The forward pass of the classic cartridge: gpt() of gpt.py, line by line, in Q8.8.

        .include "snes.inc"
        .globalzp matrix, bias, rows, columns, destination
        .export logits, attention, residual, hidden, keys, values, weights, biases

        .segment "ZEROPAGE"
token:         .res 2
position:      .res 2
head:          .res 2           ; offset of the head's first number in a vector: 0, 8, 16, 24
head_weights:  .res 2           ; address of the head's attention
time:          .res 2           ; a position, as offset of its number in scores
time_vector:   .res 2           ; the same, as offset of its vector in keys and values
dimension:     .res 2
sum:           .res 4

        .segment "BSS"
h:             .res 2 * N_EMBD  ; the vector at work
residual:      .res 2 * 2 * N_EMBD ; the stream before the layer, and after it
middle:        .res 2 * N_EMBD  ; the stream between attention and MLP
query:         .res 2 * N_EMBD
mix:           .res 2 * N_EMBD
scores:        .res 2 * BLOCK_SIZE
attention:     .res 2 * N_HEAD * BLOCK_SIZE
hidden:        .res 2 * N_HIDDEN
logits:        .res 2 * VOCAB_SIZE
keys:          .res 2 * BLOCK_SIZE * N_EMBD
values:        .res 2 * BLOCK_SIZE * N_EMBD

        .segment "RODATA"
        .align $20              ; so every eighth row begins a page, and D is then added in no time
weights:       .incbin "weights.bin"   ; Q8.8, in the order of GPTConfig.shapes
biases:        .incbin "biases.bin"    ; 32 bits a row: 128 - 32768 * the row's sum

; Where each matrix lies: `weights`, and `biases` for those that are multiplied.
ROW      = 2 * N_EMBD
ATTENTION_SCALE = 185           ; 256 log2(e) / sqrt(HEAD_DIM)
wte      = weights
wpe      = wte + VOCAB_SIZE * ROW
lm_head  = wpe + BLOCK_SIZE * ROW
attn_wq  = lm_head + VOCAB_SIZE * ROW
attn_wk  = attn_wq + N_EMBD * ROW
attn_wv  = attn_wk + N_EMBD * ROW
attn_wo  = attn_wv + N_EMBD * ROW
mlp_fc1  = attn_wo + N_EMBD * ROW
mlp_fc2  = mlp_fc1 + N_HIDDEN * ROW
lm_head_bias = biases
attn_wq_bias = lm_head_bias + 4 * VOCAB_SIZE
attn_wk_bias = attn_wq_bias + 4 * N_EMBD
attn_wv_bias = attn_wk_bias + 4 * N_EMBD
attn_wo_bias = attn_wv_bias + 4 * N_EMBD
mlp_fc1_bias = attn_wo_bias + 4 * N_EMBD
mlp_fc2_bias = mlp_fc1_bias + 4 * N_HIDDEN

; (destination) = weights * vector
.macro multiply weights_of, biases_of, outputs, inputs, vector
        lda #weights_of
        sta matrix
        lda #biases_of
        sta bias
        lda #outputs
        sta rows
        lda #2 * inputs - 2
        sta columns
        ldx #vector
        call linear
.endmacro

.macro into where
        lda #where
        sta destination
.endmacro

        .segment "CODE"

; Forget the tokens seen.
;   IN        -
;   OUT       position
;   CLOBBERS  position
;   CLOCKS    60
routine gpt_reset, 16, 16
        stz position            ; keys and values past it are never read
        rts
.endproc

; Read one token; compute what comes next.
;   IN        token: 0 to 26; position: 0 to BLOCK_SIZE - 1; keys, values: of the positions before
;   OUT       logits: VOCAB_SIZE numbers, Q8.8; attention: [head][position], 32768 = 1; residual,
;             hidden: what the layer read, made, and thought; keys, values: this position added
;   CLOBBERS  A X Y and every variable of math.asm, vector.asm and gpt.asm but token, position,
;             prng_x prng_y
;   CLOCKS    2,800,000 at the first position, 3,300,000 at the eighth
routine gpt_step, 16, 16
        into h                                          ; x = wte[token] + wpe[position]
        lda token
        jsr row_offset
        clc
        adc #wte
        tax
        lda position
        jsr row_offset
        pha
        clc
        adc #wpe
        tay
        call add_vectors
        into residual                                   ; x = rmsnorm(x)
        ldx #h
        call rmsnorm

        into h                                          ; h = rmsnorm(x)
        ldx #residual
        call rmsnorm
        into query                                      ; q = linear(h, attn_wq)
        multiply attn_wq, attn_wq_bias, N_EMBD, N_EMBD, h
        lda 1,s                                         ; keys[position] = linear(h, attn_wk)
        clc
        adc #keys
        sta destination
        multiply attn_wk, attn_wk_bias, N_EMBD, N_EMBD, h
        pla                                             ; values[position] = linear(h, attn_wv)
        clc
        adc #values
        sta destination
        multiply attn_wv, attn_wv_bias, N_EMBD, N_EMBD, h
        call attend                                     ; h = attention(q, keys, values)
        into h                                          ; h = linear(h, attn_wo)
        multiply attn_wo, attn_wo_bias, N_EMBD, N_EMBD, mix
        into middle                                     ; x = x + h
        ldx #residual
        ldy #h
        call add_vectors

        into h                                          ; h = rmsnorm(x)
        ldx #middle
        call rmsnorm
        into hidden                                     ; h = relu(linear(h, mlp_fc1))
        multiply mlp_fc1, mlp_fc1_bias, N_HIDDEN, N_EMBD, h
        ldx #hidden
        ldy #2 * N_HIDDEN
        call relu
        into h                                          ; h = linear(h, mlp_fc2)
        multiply mlp_fc2, mlp_fc2_bias, N_EMBD, N_HIDDEN, hidden
        into residual + ROW                             ; x = x + h
        ldx #middle
        ldy #h
        call add_vectors

        into logits                                     ; logits = linear(x, lm_head)
        multiply lm_head, lm_head_bias, VOCAB_SIZE, N_EMBD, residual + ROW
        rts

row_offset:                                             ; A * ROW
        asl
        asl
        asl
        asl
        asl
        rts
.endproc

; Mix the values of the positions so far, in each head as much as their keys fit the query.
;   IN        query, keys, values, position
;   OUT       mix: N_EMBD numbers; attention: [head][position], 32768 = 1
;   CLOBBERS  A X Y mul_a mul_b product dividend divisor softmax_in softmax_out softmax_count
;             softmax_scale exp_sum exps largest index reach reach_scale scale_low scale_high
;             fraction halvings shift head head_weights time time_vector dimension sum saturations
;             scores
;   CLOCKS    95,000 at the first position, 600,000 at the eighth
routine attend, 16, 16
        stz head
        lda #attention
        sta head_weights
@head:  stz time
        stz time_vector
@score: stz sum                         ; score = q . k / sqrt(HEAD_DIM), the root left to softmax
        stz sum + 2
        stz dimension
@key:   lda head
        clc
        adc dimension
        tax
        lda query,x
        sta mul_a
        txa
        adc time_vector
        tax
        lda keys,x
        sta mul_b
        call mul16s
        clc
        lda product
        adc sum
        sta sum
        lda product + 2
        adc sum + 2
        sta sum + 2
        lda dimension
        inc
        inc
        sta dimension
        cmp #2 * HEAD_DIM
        bne @key
        jsr round_8
        ldx time
        sta scores,x
        jsr next_time
        bcs @score

        lda #scores
        sta softmax_in
        lda head_weights
        sta softmax_out
        lda position
        inc
        sta softmax_count
        lda #ATTENTION_SCALE
        sta softmax_scale
        call softmax

        stz dimension
@mix:   stz sum                         ; mix = weights . values
        stz sum + 2
        stz time
        stz time_vector
@value: ldy time
        lda (head_weights),y
        sta mul_a
        lda head
        clc
        adc dimension
        adc time_vector
        tax
        lda values,x
        sta mul_b
        call mul16s
        clc
        lda product
        adc sum
        sta sum
        lda product + 2
        adc sum + 2
        sta sum + 2
        jsr next_time
        bcs @value
        lda sum                         ; (sum + 2^14) >> 15; weights add up to 1: it fits
        clc
        adc #$4000
        bcc @no_carry
        inc sum + 2
@no_carry:
        asl
        rol sum + 2
        lda head
        clc
        adc dimension
        tax
        lda sum + 2
        sta mix,x
        lda dimension
        inc
        inc
        sta dimension
        cmp #2 * HEAD_DIM
        bne @mix

        lda head_weights
        clc
        adc #2 * BLOCK_SIZE
        sta head_weights
        lda head
        adc #2 * HEAD_DIM
        sta head
        cmp #2 * N_EMBD
        beq @done
        jmp @head
@done:  rts

next_time:                              ; carry: there is a position more
        lda time_vector
        clc
        adc #ROW
        sta time_vector
        inc time
        inc time
        lda position
        asl
        cmp time
        rts

round_8:                                ; A = (sum + 128) >> 8, clamped to 16 bits
        lda sum
        clc
        adc #128
        sta sum
        bcc @top
        inc sum + 2
@top:   a8
        lda sum + 2
        asl                             ; the top byte must repeat the sign of the two below
        lda sum + 3
        adc #0
        a16
        bne @clamp
        lda sum + 1
        rts
@clamp: inc saturations
        lda sum + 2
        asl
        lda #$7FFF
        adc #0
        rts
.endproc
