package tasks

// PulseReach is how many events a first look reads at the most.
const PulseReach = pulseReach
