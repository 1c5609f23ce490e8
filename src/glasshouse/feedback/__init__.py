"""Human judgement as data: guidelines, demonstrations, rankings, agreement."""
