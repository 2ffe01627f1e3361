module flapjack/bench

go 1.21
