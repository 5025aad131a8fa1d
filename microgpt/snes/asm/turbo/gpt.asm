; The forward pass of the turbo cartridge: gpt() of gpt.py, in the arithmetic of integers/turbo.py.

        .include "turbo/turbo.inc"
        .export logits, attention, residual, hidden, keys, values
        .export codes, stream, multiples, attention_page, mixed
        .exportzp token, position, saturations

        .segment "ZEROPAGE"
token:         .res 2
position:      .res 2
saturations:   .res 2           ; codes clamped since power on

        .segment "PAGES"        ; each begins a page: there the direct page is fastest
multiples:     .res 256         ; of the 16 inputs of the matrix at work
keys:          .res BLOCK_SIZE * N_EMBD ; codes of 8 bits; they are stored as 16, so that the very
attention_page: .res 256                ; last touches the byte behind: here nothing of value ...
values:        .res BLOCK_SIZE * N_EMBD
               .res 1                   ; ... and here nothing at all

        .segment "BSS"
codes:         .res 2 * N_EMBD  ; the input of the matrix at work
mixed:         .res 2 * N_EMBD  ; what attention mixed
stream:        .res 2 * N_EMBD  ; what norm reads: codes offset by 127
scores:        .res 16 * BLOCK_SIZE ; four a position
last:          .res 2           ; 16 * position
offset:        .res 2           ; PRODUCT_OFFSET * (position + 1)
total_entry:   .res 2           ; where the chains of additions are entered
mix_entry:     .res 2
shift_entry:   .res 2
residual:      .res 2 * 2 * N_EMBD
attention:     .res 2 * N_HEAD * BLOCK_SIZE
hidden:        .res 2 * N_HIDDEN
logits:        .res 2 * VOCAB_SIZE

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
;   OUT       logits: VOCAB_SIZE numbers in units of logit_unit; keys, values: this position added;
;             if watched or in view: attention: [head][position], 32512 = 1; residual, hidden: codes
;   CLOBBERS  A X Y and every variable of the core but token, position and watched
;   CLOCKS    173,000 at the first position, 301,000 at the sixteenth; 18,000 to 61,000 more if
;             watched or in view
routine gpt_step, 16, 16
        phb
        jsl step | $810000
        plb
        rts
.endproc

        .segment "CODE1"

; The same, where most of the program lies: bank $81, which only a long call reaches.
;   IN        as gpt_step
;   OUT       as gpt_step; DB: $81
;   CLOBBERS  as gpt_step
;   CLOCKS    as gpt_step
routine step, 16, 16
        phk
        plb
        call embed
        page multiples
        call norm
        lda a:position
        asl
        asl
        asl
        asl
        tax                     ; where this position's keys and values begin
        jsl multiply_qkv | BANK_OF_QKV
        page attention_page
        call attend
        page multiples
        ldx #mixed
        call build_multiples
        jsl multiply_wo | BANK_OF_WO
        lda a:watched
        ora a:view
        beq :+
        ldx #0
        call show_residual
:       call norm
        jsl multiply_fc1 | BANK_OF_FC1
        jsl multiply_fc2 | BANK_OF_FC2
        ldx #codes
        call build_multiples
        jsl multiply_lm_head | BANK_OF_LM_HEAD
        page 0
        lda watched
        ora view
        beq :+
        ldx #2 * N_EMBD
        call show_residual
        call show_hidden
:       rtl
.endproc

; stream = wte[token] + wpe[position], offset by 127. The tables hold it in two positive parts.
;   IN        token, position
;   OUT       stream
;   CLOBBERS  A X Y
;   CLOCKS    2,100
routine embed, 16, 16
        lda a:token
        asl
        asl
        asl
        asl
        asl
        tax
        lda a:position
        asl
        asl
        asl
        asl
        asl
        tay
        .repeat ::N_EMBD, i
            lda wte + 2 * i,x
            adc wpe + 2 * i,y
            sta stream + 2 * i
        .endrepeat
        rts
.endproc

; Scale a vector to a mean square of 1. S is a sum of quarters of squares; with S = s / 4^n and s
; from $4000 to $FFFF, 1 / sqrt(S) is the table's entry for s, shifted right by 7 - n.
;   IN        stream: codes of x offset by 127; D: multiples
;   OUT       codes: (x * m + 128) / 256, offset by 128; multiples of them
;   CLOBBERS  A X Y
;   CLOCKS    13,400
routine norm, 16, 16
        ldy #0
        .repeat ::N_EMBD, i
            lda stream + 2 * i
            asl
            tax
            tya
            adc squares,x
            tay
        .endrepeat
        tya
        bne @any
        inc
@any:   ldy #7
@raise: cmp #$4000
        bcs @found
        asl
        asl
        dey
        bra @raise
@found: xba
        and #$00FF
        asl
        tax
        lda rsqrt - 2 * 64,x    ; the table begins at $40
@lower: dey
        bmi @scale
        lsr
        bra @lower
@scale: a8
        sta M7A
        xba
        sta M7A
        a16
        .repeat ::N_EMBD, i
            lda stream + 2 * i
            sec
            sbc #127
            sta M7B             ; the upper byte falls into a register without effect
            lda MPY             ; 16 bits hold it: |x| * m < 2^15 - 128
            clc
            adc #$8080          ; half a unit, and the offset
            xba
            and #$00FF
            sta codes + 2 * i
            write_multiples i
        .endrepeat
        rts
.endproc

; Write the first 8 multiples of 16 codes into their table.
;   IN        X: address of the codes, 16 bits each; D: multiples
;   OUT       multiples
;   CLOBBERS  A
;   CLOCKS    7,500
routine build_multiples, 16, 16
        .repeat ::N_EMBD, i
            lda a:2 * i,x
            write_multiples i
        .endrepeat
        rts
.endproc

; Mix the values of the positions so far, in each head as much as their keys fit the query. Products
; are read from a table: a query or an attention weight is the address of a row, a key or a value an
; offset in it.
;   IN        q (QUERY_ROWS), keys, values, position; D: attention_page
;   OUT       codes: offset by 128; if watched or in view: attention
;   CLOBBERS  A X Y attention_page scores
;   CLOCKS    17,000 at the first position, 74,000 at the sixteenth; 4,000 to 48,000 more if
;             watched or in view
routine attend, 16, 16
        .repeat ::N_HEAD, h
            stz z:LARGEST + 16 * h
        .endrepeat
        lda a:position
        asl
        asl
        asl
        asl
        sta last
        tax
        i8
score:  .repeat ::N_HEAD, h
            .scope
            ldy keys + 4 * h,x
            lda (QUERY_ROWS + 64 * h),y
            clc
            .repeat 3, i
                ldy keys + 4 * h + i + 1,x
                adc (QUERY_ROWS + 64 * h + 16 * i + 16),y
            .endrepeat
            sta scores + 2 * h,x
            cmp z:LARGEST + 16 * h
            bcc smaller
            sta z:LARGEST + 16 * h
smaller:
            .endscope
        .endrepeat
        txa
        sec
        sbc #16
        tax
        bcc scored
        jmp score
scored:

        i16
        ldx last
weigh:  .repeat ::N_HEAD, h
            .scope
            lda z:LARGEST + 16 * h
            sec
            sbc scores + 2 * h,x
            .repeat ::EXP_SHIFT ; none, for a model that learned something
                lsr
            .endrepeat
            cmp #EXP_COUNT
            bcc near
            lda #A_ZERO
            bra store
near:       asl
            tay
            lda exp_rows,y
store:      sta z:WEIGHT_ROWS + 2 * h,x
            .endscope
        .endrepeat
        txa
        sec
        sbc #16
        tax
        bcc weighed
        jmp weigh
weighed:

        lda a:position
        inc
        xba                     ; * 256
        asl
        asl
        asl                     ; * 2048 = PRODUCT_OFFSET, one for each position; 16 make 32768
        sta offset
        lda #15
        sec
        sbc a:position          ; how many positions the chains below leave out
        asl
        adc #total_0
        sta total_entry
        lda #15
        sec
        sbc a:position
        sta mix_entry
        asl
        asl
        adc mix_entry
        adc #mix_0
        sta mix_entry
        .repeat ::N_HEAD, h
            i8
            ldy #2 * (K_HALF + 1) ; the offset of "times 1"
            lda #0
            clc
            call total
            sec
            sbc offset
            i16
            asl
            tax
            lda reciprocals,x
            sta M7B
            xba
            and #$00FF
            clc
            adc #shift_4
            sta shift_entry
            lda total_entry
            clc
            adc #total_1 - total_0
            sta total_entry
            lda a:watched
            ora a:view
            beq :+
            ldx #2 * BLOCK_SIZE * h
            ldy #2 * h
            call show_attention
:           i8
            .repeat ::HEAD_DIM, i
                ldx #i
                lda #0
                clc
                call mix
                sta mixed + 2 * (4 * h + i)
            .endrepeat
            lda mix_entry
            clc
            adc #mix_1 - mix_0
            sta mix_entry
        .endrepeat
        i16
        rts
.endproc

; Enter the chain of a head's attention weights where the position demands.
;   IN        A: 0; carry: clear; Y: offset of an entry of products; total_entry; D: attention_page
;   OUT       A: the sum over the positions of attention weight times that entry's number
;   CLOBBERS  -
;   CLOCKS    230 at the first position, 830 at the sixteenth
routine total, 16, 8
        jmp (total_entry)
        .repeat ::N_HEAD, h
            .ident(.sprintf("total_%d", h)):
            .repeat ::BLOCK_SIZE, t
                adc (WEIGHT_ROWS + 16 * (BLOCK_SIZE - 1 - t) + 2 * h),y
            .endrepeat
            rts
        .endrepeat
        .export total_0, total_1
.endproc

; Mix the values of a head in one dimension: a chain of additions, entered where the position
; demands, and a division by the sum of the weights.
;   IN        A: 0; carry: clear; X: a dimension of the head; mix_entry, offset, shift_entry;
;             values; M7B: the reciprocal; D: attention_page
;   OUT       A: ((sum of attention weight * value << shift) * reciprocal + 2^13) >> 14, offset by
;             128
;   CLOBBERS  Y
;   CLOCKS    630 at the first position, 1,600 at the sixteenth
routine mix, 16, 8
        jmp (mix_entry)
        .repeat ::N_HEAD, h
            .ident(.sprintf("mix_%d", h)):
            .repeat ::BLOCK_SIZE, t
                ldy values + 16 * (BLOCK_SIZE - 1 - t) + HEAD_DIM * h,x
                adc (WEIGHT_ROWS + 16 * (BLOCK_SIZE - 1 - t) + 2 * h),y
            .endrepeat
            jmp divide
        .endrepeat
divide: sec
        sbc offset
        jmp (shift_entry)
shift_4:
        asl
        asl
        asl
        asl
        a8
        sta M7A
        xba
        sta M7A
        a16
        lda MPY + 1
        clc
        adc #(128 << 6) + (1 << 5)
        asl
        asl
        xba
        and #$00FF
        rts
        .export mix_0, mix_1, shift_4
.endproc

; Write a half of residual where others may see it.
;   IN        X: 0, or 2 * N_EMBD for the second half; codes
;   OUT       residual
;   CLOBBERS  A X Y
;   CLOCKS    3,300
routine show_residual, 16, 16
        ldy #0
@next:  lda codes,y
        sec
        sbc #128
        sta residual,x
        inx
        inx
        iny
        iny
        cpy #2 * N_EMBD
        bne @next
        rts
.endproc

; Halve the hidden units, which are kept doubled, for others to see.
;   IN        hidden
;   OUT       hidden
;   CLOBBERS  X
;   CLOCKS    6,900
routine show_hidden, 16, 16
        ldx #2 * N_HIDDEN - 2
@next:  lsr hidden,x
        dex
        dex
        bpl @next
        rts
.endproc

; Write a head's attention weights where others may see them.
;   IN        X: 2 * BLOCK_SIZE * head; Y: 2 * head; M7B: the reciprocal; shift_entry
;   OUT       attention: ((a * reciprocal) << shift) / 2
;   CLOBBERS  A X Y
;   CLOCKS    960 at the first position, 11,500 at the sixteenth
routine show_attention, 16, 16
@next:  lda attention_page,y
        sec
        sbc #A_ZERO             ; a << 7
        asl
        xba
        a8
        sta M7A
        stz M7A
        a16
        lda MPY
        phy
        ldy shift_entry
@shift: cpy #shift_4 + 4
        beq @shifted
        asl
        iny
        bra @shift
@shifted:
        ply
        lsr
        sta attention,x
        inx
        inx
        tya
        clc
        adc #16
        tay
        and #$FFF0
        cmp last
        bcc @next
        beq @next
        rts
.endproc
